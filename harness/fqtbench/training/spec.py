"""What a user writes about a network and its training; checked, and free of any number derived from it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
WindowInt = Annotated[int, Field(ge=1, le=255)]
KernelInt = Annotated[int, Field(ge=1, le=64)]
PaddingInt = Annotated[int, Field(ge=0, le=63)]
Rate = Annotated[float, Field(gt=0, le=10)]
LayerName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,31}$")]
Activation = Literal["relu", "relu6", "linear"]
Trained = Literal["all", "bias", "none"]

MIN_STANDARDIZED_BATCH = 8  # below it a row's standardized gradient is little more than the sign of one error


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Layer(_Spec):
    """What every layer may have: a name, by which an `add` refers to its output."""

    name: LayerName | None = None


class _Weighted(_Layer):
    """A layer with weights and a bias: `train` them all, the bias only, or none."""

    activation: Activation = "relu"
    train: Trained = "all"


class Conv2d(_Weighted):
    """2-D convolution with bias and folded activation; a pair is (height, width). Depthwise: `groups` = channels."""

    type: Literal["conv2d"]
    filters: Annotated[int, Field(ge=1, le=4096)]
    kernel: KernelInt | tuple[KernelInt, KernelInt] = 3
    stride: WindowInt | tuple[WindowInt, WindowInt] = 1
    padding: PaddingInt | tuple[PaddingInt, PaddingInt] | Literal["same"] = "same"
    groups: Annotated[int, Field(ge=1, le=4096)] = 1


class DepthwiseConv2d(_Weighted):
    """2-D convolution of each channel on its own."""

    type: Literal["depthwise_conv2d"]
    kernel: KernelInt | tuple[KernelInt, KernelInt] = 3
    stride: WindowInt | tuple[WindowInt, WindowInt] = 1
    padding: PaddingInt | tuple[PaddingInt, PaddingInt] | Literal["same"] = "same"


class Conv1d(_Weighted):
    """Convolution along the width of maps of height 1: the time of a series."""

    type: Literal["conv1d"]
    filters: Annotated[int, Field(ge=1, le=4096)]
    kernel: KernelInt = 3
    stride: WindowInt = 1
    padding: PaddingInt | Literal["same"] = "same"
    groups: Annotated[int, Field(ge=1, le=4096)] = 1


class FullyConnected(_Weighted):
    """Fully connected layer with bias; the last one of a network is linear."""

    type: Literal["fully_connected"]
    units: Annotated[int, Field(ge=1, le=4096)]


class MaxPool(_Layer):
    """Max pool over windows that don't overlap; a pair is (height, width)."""

    type: Literal["max_pool"]
    size: WindowInt | tuple[WindowInt, WindowInt] = 2


class AveragePool(_Layer):
    """Mean over windows that don't overlap; a pair is (height, width)."""

    type: Literal["average_pool"]
    size: WindowInt | tuple[WindowInt, WindowInt] = 2


class GlobalAveragePool(_Layer):
    """Mean over height and width."""

    type: Literal["global_average_pool"]


class Flatten(_Layer):
    """Height × width × channels to one row, in NHWC order; costs nothing."""

    type: Literal["flatten"]


class Add(_Layer):
    """Residual add: the layer above plus the output of the layer called `with`, of the same shape."""

    type: Literal["add"]
    other: Annotated[LayerName, Field(alias="with")]
    activation: Activation = "linear"


LayerSpec = Annotated[
    Conv2d
    | DepthwiseConv2d
    | Conv1d
    | FullyConnected
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Flatten
    | Add,
    Field(discriminator="type"),
]


class NetworkSpec(_Spec):
    """Layers from the input to the logits; softmax cross-entropy follows by itself."""

    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _ends_in_logits(self) -> Self:
        head = self.layers[-1]
        if not isinstance(head, FullyConnected) or head.activation != "linear":
            raise ValueError(
                "the last layer must be `fully_connected` with `activation: linear`: its outputs are the logits"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Self:
        seen: set[str] = set()
        for number, layer in enumerate(self.layers):
            if isinstance(layer, Add) and layer.other not in seen:
                raise ValueError(
                    f"layer {number}: it adds `{layer.other}`, but no layer before it has that name"
                )
            if layer.name in seen:
                raise ValueError(f"layer {number}: another layer is called `{layer.name}` already")
            seen |= {layer.name} if layer.name is not None else set()
        return self


class LearningRate(_Spec):
    """Learning rate at the first and last step; between them a cosine, in at most 32 pieces."""

    start: Rate
    end: Rate


class Ranges(_Spec):
    """How quantization ranges change while training.

    `weights`: `fixed` (values beyond are clamped), `grow` (by 1.125 on saturation), `dynamic` (new after every update).
    `activations`: `fixed` (0 or −limit to limit), `calibrated` (before training), `tracked` (followed from there).
    `errors`: `fixed` (−1 to 1), `calibrated` or `tracked` (a layer's range as a ratio to that above it).
    """

    weights: Literal["fixed", "grow", "dynamic"] = "grow"
    activations: Literal["fixed", "calibrated", "tracked"] = "tracked"
    errors: Literal["fixed", "calibrated", "tracked"] = "tracked"
    activation_limit: Annotated[float, Field(gt=0, le=1e6)] = 6.0


class PartialUpdates(_Spec):
    """Which filters or rows of a layer get a gradient from a sample: k of N, k ≥ 1; the others cost no arithmetic.

    `dynamic`: k = ⌊(λ_min + e/e_max·(λ_max − λ_min))·N⌋ of the largest errors (VAE paper's rule). `sampled`: as many,
    drawn by their errors, which are scaled so that the gradient is that of all on average. `top_k` and `random_k`,
    controls: k = ⌊λ_min·N⌋ of the largest errors, or drawn evenly. None: `sampled` with recipe best, else `dynamic`.
    """

    rule: Literal["dynamic", "sampled", "top_k", "random_k"] | None = None
    lambda_min: Annotated[float, Field(gt=0, le=1)] = 0.1
    lambda_max: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lambda_min > self.lambda_max:
            raise ValueError(f"lambda_min {self.lambda_min} is larger than lambda_max {self.lambda_max}")
        return self


class TrainingSpec(_Spec):
    """Hyper-parameters of one training. What is None follows from `recipe`, `configuration` and `batch`.

    `scratch_bytes`: arena that kernels may take beyond what they must have, to widen weights and make windows once for
    many filters. Less of it costs time; the results stay the same. A network that does not fit goes without.
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    learning_rate: Rate | LearningRate = 0.01
    configuration: Literal["uint8", "mixed", "float32"] = "uint8"
    recipe: Literal["best", "paper"] = "best"
    normalization: Literal["standardize", "qas", "none"] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rounding: Literal["residual", "stochastic", "nearest"] | None = None
    ranges: Ranges | None = None
    partial: PartialUpdates | None = None
    scratch_bytes: Annotated[int, Field(ge=0, le=1 << 20)] = 1 << 15
    track_period: Annotated[int, Field(ge=1, le=1024)] = 8
    calibration_samples: Annotated[int, Field(ge=1, le=4096)] = 32

    @model_validator(mode="after")
    def _standardization_needs_a_batch(self) -> Self:
        if (
            self.normalization == "standardize"
            and self.recipe == "best"
            and self.batch < MIN_STANDARDIZED_BATCH
        ):
            raise ValueError(
                f"batch {self.batch}: gradient standardization needs at least {MIN_STANDARDIZED_BATCH} samples per "
                "update; below that a row's gradient is little more than the sign of one error; use "
                "`normalization: qas`"
            )
        return self

    @model_validator(mode="after")
    def _the_papers_recipe_has_no_residual(self) -> Self:
        if self.recipe == "paper" and self.rounding == "residual":
            raise ValueError("recipe `paper` keeps no residual; choose `rounding: nearest` or `stochastic`")
        if self.recipe == "best" and self.ranges is not None and self.ranges.weights == "dynamic":
            raise ValueError(
                "`ranges.weights: dynamic` belongs to recipe `paper`: it needs the float gradient buffer"
            )
        return self
