"""The metrics of a run, in one table: name, unit, direction, origin, exact or noisy, and how each is taken."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from fqtbench.board import Origin


class Source(Enum):
    """What a metric is taken with; the board says of which origin that is."""

    COUNT = "count"  # predictions, losses, bytes: reported by the firmware, the same on every board
    CYCLES = "cycles"  # the board's cycle counter
    POWER = "power"  # the power monitor


@dataclass(frozen=True)
class Metric:
    """One row of the table. `scale` turns the stored SI value into `unit` for display."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    source: Source
    how: str
    scale: float = 1.0
    digits: int = 2


@dataclass(frozen=True)
class MetricValue:
    """A metric of one run. `value` is in the base unit: s, J, bytes, nats, or a share of 1.

    `uncertainty`: the fraction of it by which a real board may differ, where a model states one; of a measured energy,
    that of the windows' edges.
    """

    name: str
    value: float
    origin: Origin
    exact: bool
    uncertainty: float | None = None


_PER_STEP: Final = "mean over the training steps of the last epoch; "
_DWT: Final = "core cycles ÷ clock"
_SUPPLY: Final = "energy of the windows that the trigger pin marks"

METRICS: Final = (
    Metric(
        "test_accuracy",
        "Test accuracy",
        "%",
        "higher",
        Source.COUNT,
        "share of test samples that the device predicts rightly after the last epoch",
        100.0,
    ),
    Metric(
        "test_loss",
        "Test loss",
        "nats",
        "lower",
        Source.COUNT,
        "mean cross-entropy on the device after the last epoch",
        1.0,
        3,
    ),
    Metric(
        "train_loss",
        "Training loss",
        "nats",
        "lower",
        Source.COUNT,
        "mean cross-entropy on the device over the last epoch",
        1.0,
        3,
    ),
    Metric("forward_s", "Forward", "ms", "lower", Source.CYCLES, _PER_STEP + _DWT, 1e3, 3),
    Metric("backward_s", "Backward", "ms", "lower", Source.CYCLES, _PER_STEP + _DWT, 1e3, 3),
    Metric(
        "update_s",
        "Update",
        "ms",
        "lower",
        Source.CYCLES,
        _PER_STEP + _DWT + "; an update's time is shared by its mini-batch",
        1e3,
        3,
    ),
    Metric("step_s", "Training step", "ms", "lower", Source.CYCLES, "forward + backward + update", 1e3, 3),
    Metric(
        "inference_s",
        "Inference",
        "ms",
        "lower",
        Source.CYCLES,
        "mean over the test samples of the last epoch; " + _DWT,
        1e3,
        3,
    ),
    Metric("step_j", "Energy per step", "mJ", "lower", Source.POWER, _PER_STEP + _SUPPLY, 1e3, 4),
    Metric(
        "inference_j",
        "Energy per inference",
        "mJ",
        "lower",
        Source.POWER,
        "mean over the test samples of the last epoch; " + _SUPPLY,
        1e3,
        4,
    ),
    Metric(
        "mlperf_inference_j",
        "Energy per inference, MLPerf Tiny",
        "mJ",
        "lower",
        Source.POWER,
        "median of five windows, each of one test sample inferred again and again; " + _SUPPLY,
        1e3,
        4,
    ),
    Metric(
        "training_j",
        "Training energy",
        "J",
        "lower",
        Source.POWER,
        "all training steps of the run; " + _SUPPLY,
        1.0,
        3,
    ),
    Metric(
        "ram_bytes",
        "RAM",
        "KB",
        "lower",
        Source.COUNT,
        "variables + stack high-water mark + arena peak",
        1 / 1024,
        1,
    ),
    Metric(
        "arena_bytes",
        "of it arena",
        "KB",
        "lower",
        Source.COUNT,
        "peak of the memory plan, as the device reports it",
        1 / 1024,
        1,
    ),
    Metric(
        "stack_bytes",
        "of it stack",
        "KB",
        "lower",
        Source.COUNT,
        "high-water mark of the painted stack",
        1 / 1024,
        2,
    ),
    Metric("flash_bytes", "Flash", "KB", "lower", Source.COUNT, "firmware + model image", 1 / 1024, 1),
)
BY_NAME: Final = {metric.name: metric for metric in METRICS}


def metric_value(
    name: str,
    value: float,
    origins: Mapping[Source, Origin],
    uncertainties: Mapping[Source, float],
    sampled: Container[Source] = (),
) -> MetricValue:
    """Return a metric with its origin and uncertainty, given those of what the board has to measure with.

    Counts are exact everywhere, because the arithmetic is; a model gives the same figure every time; a measured
    time or energy varies from run to run, and so does the modelled energy of a measured time, and what is `sampled`,
    even of a model: no two runs have their samples at the same instants.
    """
    source = BY_NAME[name].source
    origin = origins[source]
    modelled = origin == origins.get(Source.CYCLES) == "modelled"
    exact = source is Source.COUNT or (modelled and source not in sampled)
    return MetricValue(name, value, origin, exact, uncertainties.get(source))


def show(value: MetricValue) -> str:
    """Return the value with its unit and, where it has one, its uncertainty, as tables print it."""
    return f"{show_number(value)} {BY_NAME[value.name].unit}{show_uncertainty(value)}"


def show_number(value: MetricValue) -> str:
    """Return the value in the unit that tables use, without that."""
    metric = BY_NAME[value.name]
    return f"{value.value * metric.scale:.{metric.digits}f}"


def show_uncertainty(value: MetricValue) -> str:
    """Return " ±6%", or nothing where there is no uncertainty."""
    return plus_minus(value.uncertainty)


def plus_minus(*fractions: float | None) -> str:
    """Return the range of these uncertainties in percent, " ±1 to 25%"; nothing where none is stated."""
    stated = sorted(100 * fraction for fraction in fractions if fraction is not None)
    if not stated:
        return ""
    return f" ±{' to '.join(dict.fromkeys(f'{percent:.3g}' for percent in (stated[0], stated[-1])))}%"
