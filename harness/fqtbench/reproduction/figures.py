"""The figures by name: the suites that each needs, and how it is drawn from the tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from fqtbench.report.drawing import Drawing
from fqtbench.reproduction.drawings.ablation import draw_ablations
from fqtbench.reproduction.drawings.accuracy import draw_scratch, draw_transfer
from fqtbench.reproduction.drawings.costs import draw_energy, draw_latency, draw_mcunet, draw_memory
from fqtbench.reproduction.drawings.curves import draw_loss, draw_trade_off
from fqtbench.reproduction.drawings.partial import draw_partial

RUNS: Final = "runs"
LOSS: Final = "loss"
PARTIAL: Final = "partial"
Tables = Mapping[str, pd.DataFrame]

_TRANSFER: Final = (
    "transfer-turned",
    "transfer-digits",
    "transfer-colour-digits",
    "transfer-watch",
    "transfer-engine",
)
_SCRATCH: Final = ("scratch-fashion", "scratch-digits", "scratch-speech")
_BOARDS: Final = (
    "boards-cnn",
    "boards-mobilenet",
    "boards-mcunet",
    "boards-watch",
    "boards-engine",
    "boards-speech",
)
_PARTIAL: Final = ("partial", "partial-board")
_PARTIAL_PAPER: Final = "partial-paper"
_ABLATIONS: Final = ("ablation-batch", "ablation-rate", "ablation-rounding")


@dataclass(frozen=True)
class FigureOf:
    """A figure: what it shows, what must have run, and how it is drawn."""

    title: str
    suites: tuple[str, ...]
    draw: Callable[[Tables], Drawing]


def _energy_trade_off(tables: Tables) -> Drawing:
    return draw_trade_off(tables[RUNS], "step_j", "trade_off_energy", "Energy of a training step", 1e3, "mJ")


def _latency_trade_off(tables: Tables) -> Drawing:
    return draw_trade_off(tables[RUNS], "step_s", "trade_off_latency", "Time of a training step", 1e3, "ms")


FIGURES: Final[Mapping[str, FigureOf]] = {
    "accuracy": FigureOf("Transfer learning", _TRANSFER, lambda t: draw_transfer(t[RUNS])),
    "scratch": FigureOf("Training from scratch", _SCRATCH, lambda t: draw_scratch(t[RUNS])),
    "latency": FigureOf("Latency", _BOARDS, lambda t: draw_latency(t[RUNS])),
    "memory": FigureOf("Memory", _BOARDS, lambda t: draw_memory(t[RUNS])),
    "energy": FigureOf("Energy", _BOARDS, lambda t: draw_energy(t[RUNS])),
    "partial": FigureOf(
        "Partial updates", (*_PARTIAL, _PARTIAL_PAPER), lambda t: draw_partial(t[PARTIAL], t[RUNS])
    ),
    "loss": FigureOf("Loss curves", _SCRATCH, lambda t: draw_loss(t[LOSS])),
    "trade_off_energy": FigureOf(
        "Accuracy against energy", ("scratch-fashion", "boards-cnn"), _energy_trade_off
    ),
    "trade_off_latency": FigureOf(
        "Accuracy against latency", ("scratch-fashion", "boards-cnn"), _latency_trade_off
    ),
    "mcunet": FigureOf(
        "Against MCUNet", ("boards-mobilenet", "boards-mcunet"), lambda t: draw_mcunet(t[RUNS])
    ),
    "ablations": FigureOf("Ablations", _ABLATIONS, lambda t: draw_ablations(t[RUNS])),
}
LOSS_SUITES: Final = _SCRATCH
PARTIAL_SUITES: Final = _PARTIAL
