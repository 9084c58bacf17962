"""What a recipe means: every choice that a training specification leaves open."""

from dataclasses import dataclass

from fqtbench.training.image import (
    ErrorRanges,
    Normalization,
    PartialRule,
    Rounding,
    WeightRanges,
)
from fqtbench.training.spec import MIN_STANDARDIZED_BATCH, Ranges, TrainingSpec

_PAPER_RANGES = Ranges(weights="dynamic", activations="calibrated", errors="fixed")


@dataclass(frozen=True)
class Options:
    """The choices, as the model image names them.

    `float_gradient`: gradients are summed in float32. `whole_head`: partial updates leave the head alone.
    """

    normalization: Normalization
    rounding: Rounding
    weight_ranges: WeightRanges
    error_ranges: ErrorRanges
    activation_ranges: str
    activation_limit: float
    partial: PartialRule
    lambda_min: float
    lambda_max: float
    float_gradient: bool
    whole_head: bool
    warnings: tuple[str, ...]


def options_of(training: TrainingSpec) -> Options:
    """Fill in what `recipe` and `batch` decide."""
    paper = training.recipe == "paper"
    standardized = paper or training.batch >= MIN_STANDARDIZED_BATCH
    normalization = training.normalization or ("standardize" if standardized else "qas")
    rounding = training.rounding or ("nearest" if paper else "residual")
    ranges = training.ranges or (_PAPER_RANGES if paper else Ranges())
    partial = training.partial
    rule = "full" if partial is None else partial.rule or ("dynamic" if paper else "sampled")
    warnings: tuple[str, ...] = ()
    if normalization == "standardize" and training.batch < MIN_STANDARDIZED_BATCH:
        warnings = (
            f"gradients are standardized at batch {training.batch}: below {MIN_STANDARDIZED_BATCH} samples a row's "
            "gradient is little more than the sign of one error, and accuracy collapses",
        )
    return Options(
        normalization=Normalization[normalization.upper()],
        rounding=Rounding[rounding.upper()],
        weight_ranges=WeightRanges[ranges.weights.upper()],
        error_ranges=ErrorRanges[ranges.errors.upper()],
        activation_ranges=ranges.activations,
        activation_limit=ranges.activation_limit,
        partial=PartialRule[rule.upper()],
        lambda_min=1.0 if partial is None else partial.lambda_min,
        lambda_max=1.0 if partial is None else partial.lambda_max,
        float_gradient=paper,
        whole_head=not paper,
        warnings=warnings,
    )
