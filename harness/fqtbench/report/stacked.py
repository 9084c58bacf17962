"""Bars whose parts stand one behind the other."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from fqtbench.report import style

_HEIGHT: Final = 0.62
_ROOM: Final = 1.16  # for the totals behind the bars


def stacked(axes: Axes, labels: Sequence[str], parts: Mapping[str, Sequence[float]], fmt: str) -> None:
    """Draw horizontal bars of `parts` (name: a value a bar), the first on top, the total at the end of each."""
    places, left = np.arange(len(labels)), np.zeros(len(labels))
    for number, (name, values) in enumerate(parts.items()):
        widths = np.asarray(values, np.float64)
        axes.barh(
            places,
            widths,
            left=left,
            height=_HEIGHT,
            color=style.colour(number),
            label=name,
            edgecolor="white",
            linewidth=0.6,
        )
        left = left + widths
    for place, total in zip(places, left, strict=True):
        axes.annotate(
            fmt.format(total),
            (total, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color="#222222",
        )
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(float(left.max()) * _ROOM, 1e-9))
