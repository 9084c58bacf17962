"""What the kernels must reach, and what the committed rows of results/kernels say of it: the promises of the kernels.

Errors are all other than zero, and of dense and zero-skipping kernel the cheaper counts. A bound that isn't kept on one
core isn't kept; `shortfall` says why.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import pandas as pd

from benchmarks.promise import ROOT, Promise, keep
from fqtbench.kernels.shapes import CONVOLUTION, DEPTHWISE, FULLY_CONNECTED, POINTWISE_16, POINTWISE_32

FOLDER: Final = ROOT / "results" / "kernels"
CORES: Final = {"cortex-m4": "M4", "cortex-m7": "M7", "cortex-m0plus": "M0+"}
FORWARD: Final = ("forward",)
ERROR: Final = ("error dense", "error planar", "error sparse")
GRADIENT: Final = ("gradient dense", "gradient planar", "gradient sparse")
STEP: Final = ("step outer",)  # a fully connected layer at batch 1: its gradient steps its weights at once
_COMMAND: Final = "python -m benchmarks.kernels"
_FIRST_ORDER: Final = 30


class Bound(NamedTuple):
    """A line: `most` instructions or cycles (`unit`) per MAC on each core, of the best of `kernels` on `shape`."""

    name: str
    what: str
    shape: str
    kernels: tuple[str, ...]
    most: Mapping[str, float]
    unit: str = "instructions"
    shortfall: str = ""

    def reached(self) -> dict[str, float]:
        """Return what the kernels take on each core of `most`, rounded up to two decimals."""
        return {core: self._least(core) for core in self.most}

    def _least(self, core: str) -> float:
        value = least(core, self.shape, self.kernels, f"{self.unit}_per_unit")
        return math.ceil(round(100 * value, 6)) / 100


def _instructions(armv7em: float, armv6m: float) -> dict[str, float]:
    return {"cortex-m4": armv7em, "cortex-m7": armv7em, "cortex-m0plus": armv6m}


BOUNDS: Final = (
    Bound("3x3_forward", "3×3 forward", CONVOLUTION, FORWARD, _instructions(1.3, 3.5)),
    Bound("3x3_error", "3×3 ∂X", CONVOLUTION, ERROR, _instructions(1.45, 3.7)),
    Bound("3x3_gradient", "3×3 ∂W", CONVOLUTION, GRADIENT, _instructions(1.2, 3.7)),
    Bound("1x1_k16_forward", "1×1 forward, K = 16", POINTWISE_16, FORWARD, _instructions(1.8, 5.2)),
    Bound("1x1_k32_forward", "1×1 forward, K = 32", POINTWISE_32, FORWARD, _instructions(1.5, 4.2)),
    Bound("1x1_k32_error", "1×1 ∂X, K = 32", POINTWISE_32, ERROR, _instructions(1.8, 4.7)),
    Bound("1x1_k32_gradient", "1×1 ∂W, K = 32", POINTWISE_32, GRADIENT, _instructions(1.5, 4.2)),
    Bound("depthwise_forward", "depthwise 3×3 forward", DEPTHWISE, FORWARD, _instructions(2.4, 7.5)),
    Bound("depthwise_error", "depthwise 3×3 ∂X", DEPTHWISE, ERROR, _instructions(2.6, 7.5)),
    Bound("depthwise_gradient", "depthwise 3×3 ∂W", DEPTHWISE, GRADIENT, _instructions(2.4, 7.5)),
    Bound("fc_forward", "fully connected forward", FULLY_CONNECTED, FORWARD, _instructions(1.42, 3.7)),
    Bound("fc_error", "fully connected ∂X", FULLY_CONNECTED, ERROR, _instructions(1.9, 4.2)),
    Bound("fc_update", "fully connected ∂W + update, batch 1", FULLY_CONNECTED, STEP, _instructions(4, 11)),
    Bound("3x3_forward_cycles", "3×3 forward", CONVOLUTION, FORWARD, {"cortex-m4": 1.5}, "cycles"),
    Bound("3x3_error_cycles", "3×3 ∂X", CONVOLUTION, ERROR, {"cortex-m4": 1.6}, "cycles"),
    Bound("3x3_gradient_cycles", "3×3 ∂W", CONVOLUTION, GRADIENT, {"cortex-m4": 1.5}, "cycles"),
)


@cache
def rows_of(core: str) -> pd.DataFrame:
    """Return the committed rows of a core."""
    return pd.read_csv(FOLDER / f"{core}.csv")


def least(core: str, shape: str, kernels: tuple[str, ...], column: str, density: int = 100) -> float:
    """Return the least value of a column among `kernels`."""
    rows = rows_of(core)
    found = rows[(rows["shape"] == shape) & rows.kernel.isin(kernels) & (rows.errors_per_cent == density)]
    return float(found[column].min())


def keep_promises() -> None:
    """Keep what the committed rows say of each bound."""
    rows_of.cache_clear()
    for order, bound in enumerate(BOUNDS, _FIRST_ORDER):
        reached = bound.reached()
        kept = all(reached[core] <= most for core, most in bound.most.items())
        what = f"kernel, {bound.what}: {bound.unit} per MAC"
        value = ", ".join(f"{CORES[core]} {value:.2f}" for core, value in reached.items())
        most = ", ".join(f"{CORES[core]} {most:g}" for core, most in bound.most.items())
        promise = Promise(order, what, f"≤ {most}", value, kept, _COMMAND, bound.shortfall)
        keep(f"kernel_{bound.name}", promise)
