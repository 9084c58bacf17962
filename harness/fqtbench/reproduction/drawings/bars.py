"""Bars in groups with error bars; and marks where values are orders of magnitude apart."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from fqtbench.report import style

RECIPE_HATCH: Final = {"best": "", "paper": "////", "published": ""}
CONFIGURATIONS: Final = ("uint8", "mixed", "float32")
_WIDTH: Final = 0.84
_MARKS: Final = ("o", "D", "^", "s")


def spread(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return mean, sample standard deviation (0 of one) and count of `value` over what `by` leaves out."""
    grouped = table.groupby(list(by), sort=False, dropna=False)[value].agg(["mean", "std", "count"])
    return grouped.fillna({"std": 0.0}).reset_index()


def series_of(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of configuration and recipe found, in the order in which figures have them."""
    found = set(zip(table.configuration, table.recipe, strict=True))
    return [(c, r) for c in CONFIGURATIONS for r in RECIPE_HATCH if (c, r) in found]


def grouped(axes: Axes, table: pd.DataFrame, groups: Sequence[str]) -> None:
    """Draw bars of group, configuration, recipe, mean, std: a colour a configuration, recipe paper hatched."""
    series = series_of(table)
    width = _WIDTH / max(len(series), 1)
    for number, (configuration, recipe) in enumerate(series):
        own = table[(table.configuration == configuration) & (table.recipe == recipe)].set_index("group")
        known = [group for group in groups if group in own.index]
        places = np.array([groups.index(group) for group in known]) + (number + 0.5) * width - _WIDTH / 2
        axes.bar(
            places,
            own.loc[known, "mean"],
            width,
            yerr=own.loc[known, "std"],
            color=style.colour(CONFIGURATIONS.index(configuration)),
            hatch=RECIPE_HATCH[recipe],
            edgecolor="white",
            linewidth=0.6,
            error_kw={"elinewidth": 0.9, "capsize": 1.5, "ecolor": "#222222"},
        )
    axes.set_xticks(range(len(groups)), groups, rotation=20, ha="right")
    axes.grid(axis="x", visible=False)


def legend(axes: Axes, table: pd.DataFrame) -> None:
    """Explain colours and hatches to the right of the axes."""
    shown = {configuration for configuration, recipe in series_of(table) if recipe != "published"}
    series = [(c, r) for c, r in series_of(table) if r != "published" or c not in shown]
    handles = [
        Patch(
            facecolor=style.colour(CONFIGURATIONS.index(configuration)),
            hatch=RECIPE_HATCH[recipe],
            edgecolor="white",
            label=configuration if recipe == "published" else f"{configuration}, recipe {recipe}",
        )
        for configuration, recipe in series
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def dots(axes: Axes, labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """Draw marks on a logarithmic axis, the first row on top: values orders of magnitude apart have no bars."""
    places = np.arange(len(labels))
    for number, (label, values) in enumerate(series.items()):
        axes.plot(
            np.asarray(values, np.float64),
            places,
            linestyle="none",
            marker=_MARKS[number],
            markersize=5.5,
            color=style.colour(number),
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=label,
        )
    axes.set_xscale("log")
    axes.set_yticks(places, labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
