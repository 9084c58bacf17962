"""The figures of measured power: the trace of a step, the energy of each phase, the histogram of the samples."""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from fqtbench.experiment.results import RunResult, SuiteResults
from fqtbench.power import PHASES
from fqtbench.power.excerpt import Excerpt
from fqtbench.report import style
from fqtbench.report.drawing import Drawing

_IDLE: Final = "idle"
_COLOURS: Final = {**{name: style.colour(i) for i, name in enumerate(PHASES)}, _IDLE: style.MUTED}
_HATCHES: Final = {"forward": "", "backward": "//", "update": "..", _IDLE: ""}  # apart in grey print, too
_POINTS: Final = 3000  # of a line: more than a page has pixels
_BINS: Final = 60
_TITLES: Final = {**{name: name for name in PHASES}, "inference": "inference"}


def draw_power(results: SuiteResults) -> list[Drawing]:
    """Return the figures that there is something measured for; the trace is that of the first run that kept one."""
    drawings = []
    measured = [run for run in results.runs if run.energy.get("phases")]
    if measured:
        drawings.append(draw_phase_energies(measured))
    for run in results.runs:
        trace = run.trace()
        if trace is not None:
            trigger = run.energy.get("account", {}).get("trigger", 0)
            phases = phases_of(trace, run.steps.updated.to_numpy(bool), trigger)
            origin = run.metrics["step_j"].origin if "step_j" in run.metrics else "measured"
            drawings += [draw_trace(trace, phases, origin), draw_histogram(trace, phases, origin)]
            break
    return drawings


def phases_of(trace: Excerpt, updated: NDArray[np.bool_], trigger: int = 0) -> NDArray[np.str_]:
    """Return what the board did at each sample, (n,): a phase, or idle.

    `updated`: (steps,), whether each step's mini-batch ended with it; else the step has no window for an update.
    """
    high = (trace.digital >> trigger) & 1
    rises = np.diff(high, prepend=np.uint8(0)) == 1
    order = [phase for step in updated for phase in (PHASES if step else PHASES[:2])]
    number = np.cumsum(rises)
    names = np.array([_IDLE, *order, _IDLE])  # what comes behind the last known step is not named
    return np.asarray(np.where(high == 1, names[np.minimum(number, len(names) - 1)], _IDLE))


def draw_trace(trace: Excerpt, phases: NDArray[np.str_], origin: str) -> Drawing:
    """Current over time, the phases shaded."""
    time_ms = np.arange(len(trace.current_a)) / trace.rate_hz * 1e3
    current_ma = trace.current_a.astype(np.float64) * 1e3
    figure, (axes,) = style.new_figure(height_in=3.6, width_in=8.0)
    _shade(axes, time_ms, phases)
    shown = _thinned(current_ma)
    axes.plot(time_ms[shown], current_ma[shown], color="#222222", linewidth=0.8)
    axes.set_xlim(time_ms[0], time_ms[-1])
    axes.set_ylim(bottom=min(0.0, float(np.nanmin(current_ma))))
    axes.set_xlabel(f"Time (ms, {origin})")
    axes.set_ylabel(f"Current (mA, {origin})")
    axes.set_title("Current of the first training steps")
    _legend(axes, phases)
    table = pd.DataFrame(
        {"time_ms": time_ms[shown], "current_ma": current_ma[shown], "phase": phases[shown], "origin": origin}
    )
    caption = (
        f"Samples at {trace.rate_hz / 1e3:g} kHz and {trace.volts:g} V. Shaded: the trigger pin is high. A long trace "
        "is thinned to the smallest and largest sample of each stretch."
    )
    return Drawing("power_trace", caption, figure, table)


def draw_histogram(trace: Excerpt, phases: NDArray[np.str_], origin: str) -> Drawing:
    """How often the board drew which power, phase by phase."""
    power_mw = trace.current_a.astype(np.float64) * trace.volts * 1e3
    known = np.isfinite(power_mw)
    edges = np.histogram_bin_edges(power_mw[known], _BINS)
    figure, (axes,) = style.new_figure()
    rows: list[pd.DataFrame] = []
    for name in (*PHASES, _IDLE):
        values = power_mw[known & (phases == name)]
        if not len(values):
            continue
        share = np.histogram(values, edges)[0] / known.sum() * 100
        axes.stairs(share, edges, color=_COLOURS[name], fill=True, alpha=0.25)
        axes.stairs(share, edges, color=_COLOURS[name], linewidth=1.4, label=name)
        rows.append(
            pd.DataFrame({"phase": name, "from_mw": edges[:-1], "to_mw": edges[1:], "share_percent": share})
        )
    axes.set_yscale("log")
    axes.set_xlabel(f"Power (mW, {origin})")
    axes.set_ylabel(f"Share of the samples (%, {origin})")
    axes.set_title("Power of the first training steps")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    caption = "Share of the samples in each of the ranges of power, for each phase and the time between them."
    return Drawing(
        "power_histogram", caption, figure, pd.concat(rows, ignore_index=True).assign(origin=origin)
    )


def draw_phase_energies(runs: list[RunResult]) -> Drawing:
    """Median energy of each phase's windows, with its interval; in front of it what is above idle."""
    table = pd.DataFrame([row for run in runs for row in _rows(run)])
    names = [name for name in _TITLES if name in set(table.phase)]
    figure, (axes,) = style.new_figure(height_in=1.6 + 0.3 * len(names) * len(runs))
    places, labels = [], []
    for i, name in enumerate(names):
        for j, run in enumerate(runs):
            places.append(i * (len(runs) + 0.6) + j)
            labels.append(name if len(runs) == 1 else f"{name}, {run.label}")
    ordered = [table[(table.phase == name) & (table.run == run.label)] for name in names for run in runs]
    for place, row in zip(places, ordered, strict=True):
        if len(row):
            _bar(axes, place, row.iloc[0])
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"Energy of a window (mJ, {style.origins(table.origin)})")
    axes.set_title("Energy of each phase")
    above = Patch(facecolor=style.colour(0), label="above idle")
    idle = Patch(facecolor=style.colour(0), alpha=0.35, label="idle power")
    axes.legend(handles=[above, idle], loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    percent = f"{100 * float(runs[0].energy['confidence']):g} %"
    caption = f"Median of the last epoch's windows. Whiskers: its {percent} interval by order statistics."
    return Drawing("energy_phases", caption, figure, table)


def _rows(run: RunResult) -> list[dict[str, Any]]:
    rows = []
    for name, phase in run.energy["phases"].items():
        if phase is None:
            continue
        low, high = phase["all"]["interval_j"] or (np.nan, np.nan)
        above = phase["above_idle"]
        rows.append(
            {
                "run": run.label,
                "phase": name,
                "windows": phase["n_windows"],
                "mean_j": phase["all"]["mean_j"],
                "median_j": phase["all"]["median_j"],
                "low_j": low,
                "high_j": high,
                "above_idle_j": np.nan if above is None else above["median_j"],
                "edge_uncertainty_j": phase["edge_uncertainty_j"],
                "origin": run.metrics["step_j"].origin,
            }
        )
    return rows


def _bar(axes: Axes, place: float, row: Any) -> None:
    median, low, high = (float(row[name]) * 1e3 for name in ("median_j", "low_j", "high_j"))
    axes.barh(place, median, height=0.62, color=style.colour(0), alpha=0.35, edgecolor="white", linewidth=0.6)
    if np.isfinite(row.above_idle_j):
        axes.barh(place, float(row.above_idle_j) * 1e3, height=0.62, color=style.colour(0), edgecolor="white")
    if np.isfinite(low):
        axes.errorbar(
            median, place, xerr=[[median - low], [high - median]], color="#222222", capsize=3, linewidth=1.2
        )


def _shade(axes: Axes, time_ms: NDArray[np.float64], phases: NDArray[np.str_]) -> None:
    changes = np.flatnonzero(phases[1:] != phases[:-1]) + 1
    step = time_ms[1] - time_ms[0] if len(time_ms) > 1 else 1.0
    for begin, end in zip([0, *changes], [*changes, len(phases)], strict=True):
        name = str(phases[begin])
        if name != _IDLE:
            axes.axvspan(
                time_ms[begin],
                time_ms[end - 1] + step,
                facecolor=_COLOURS[name],
                alpha=0.25,
                hatch=_HATCHES[name],
                edgecolor="white",
                linewidth=0,
                zorder=0,
            )


def _legend(axes: Axes, phases: NDArray[np.str_]) -> None:
    shown = [name for name in PHASES if (phases == name).any()]
    handles = [
        Patch(facecolor=_COLOURS[name], alpha=0.25, hatch=_HATCHES[name], edgecolor="white", label=name)
        for name in shown
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _thinned(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which samples to draw, in order: where they are too many, the extremes of each of equal stretches."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    bounds = np.linspace(0, len(values), _POINTS // 2 + 1).astype(np.intp)
    chosen: list[int] = []
    for begin, end in pairwise(bounds):
        piece = values[begin:end]
        if np.isnan(piece).all():
            chosen.append(int(begin))
            continue
        chosen += sorted({int(begin + np.nanargmin(piece)), int(begin + np.nanargmax(piece))})
    return np.array(chosen, np.intp)
