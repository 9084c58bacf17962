"""How every figure looks: colours that colour-blind people tell apart, one grid, one size of type."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fqtbench.experiment.metrics import MetricValue, plus_minus

# Okabe and Ito, "Color Universal Design" (2008), without yellow, which is faint on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES: Final = ("-", "--", "-.", ":")  # taken up in turn once the colours are used up
MARKERS: Final = {"measured": "o", "modelled": "D", "published": "s"}
MUTED: Final = "#6b6b6b"
WIDTH_IN: Final = 6.4
HEIGHT_IN: Final = 4.0
PNG_DPI: Final = 160
MAX_LEGEND: Final = 14

_SETTINGS: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c8c8c",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "figure.dpi": 100,
    "svg.hashsalt": "fqtbench",
    "svg.fonttype": "path",
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,  # a figure of `new_figure` has its own engine, until it is laid out
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw inside this."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(
    columns: int = 1, height_in: float = HEIGHT_IN, width_in: float = WIDTH_IN
) -> tuple[Figure, list[Axes]]:
    """Return a figure that no window shows, and its axes from left to right."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, [figure.add_subplot(1, columns, number + 1) for number in range(columns)]


def colour(number: int) -> str:
    """Colour of the run at `number` in its figure."""
    return COLOURS[number % len(COLOURS)]


def line(number: int) -> str:
    """Line style of the run at `number` in its figure."""
    return LINES[number // len(COLOURS) % len(LINES)]


def legend_beside(axes: Axes, n_entries: int) -> None:
    """Put the legend to the right of the axes, if the entries are few enough to be read."""
    if 1 < n_entries <= MAX_LEGEND:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def label_of(values: Iterable[MetricValue]) -> str:
    """Return the origins of figures, with the uncertainty that their models state: "modelled ±1 to 25%"."""
    known = list(values)
    return origins(value.origin for value in known) + plus_minus(*(value.uncertainty for value in known))


def origins(values: Iterable[str]) -> str:
    """Return the origins found, as a label names them."""
    return " and ".join(sorted(set(values)))
