"""The figures of a suite. Each is drawn from a table, which is written beside it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fqtbench.experiment.metrics import BY_NAME
from fqtbench.experiment.results import RunResult, SuiteResults
from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.report.pareto import pareto_front
from fqtbench.report.power import draw_power
from fqtbench.report.stacked import stacked

_KB: Final = 1024
_LOSS_POINTS: Final = 400
_AREA_SMALLEST, _AREA_LARGEST = 60.0, 420.0  # points², of the smallest and largest run's marker
_BAR_HEIGHT_IN: Final = 0.42


def draw_all(results: SuiteResults) -> list[Drawing]:
    """Return every figure that the suite has the metrics for; runs that lack one are left out of its figure."""
    timed, powered = results.having("step_s"), results.having("step_j")
    with style.house_style():
        drawings = [draw_trade_off(powered, ENERGY, "trade_off_energy")] if powered.runs else []
        drawings += [draw_trade_off(timed, LATENCY, "trade_off_latency")] if timed.runs else []
        drawings += [draw_accuracy(results), draw_loss(results)]
        drawings += [draw_latency(timed), draw_memory(timed)] if timed.runs else []
        drawings += draw_power(results)
    return drawings


def draw_accuracy(results: SuiteResults) -> Drawing:
    """Accuracy over epochs; with a single run, that on the training samples too."""
    figure, (axes,) = style.new_figure()
    single = len(results.runs) == 1
    tables = []
    for number, run in enumerate(results.runs):
        epochs = run.epochs.epoch + 1
        axes.plot(
            epochs,
            run.epochs.test_accuracy * 100,
            marker="o",
            markersize=5,
            color=style.colour(number),
            linestyle=style.line(number),
            label="test samples" if single else run.label,
        )
        if single:
            axes.plot(
                epochs,
                run.epochs.train_accuracy * 100,
                color=style.colour(1),
                linestyle="--",
                marker="s",
                markersize=4,
                label="training samples, while they are learned",
            )
            axes.legend(loc="lower right")
        tables.append(
            pd.DataFrame(
                {
                    "run": run.label,
                    "epoch": epochs,
                    "test_accuracy": run.epochs.test_accuracy,
                    "train_accuracy": run.epochs.train_accuracy,
                }
            )
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Accuracy on the device (%, measured)")
    axes.margins(x=0.08, y=0.15)
    axes.set_title("Accuracy over epochs")
    style.legend_beside(axes, 0 if single else len(results.runs))
    caption = "Share of samples that the device itself predicts rightly."
    return Drawing("accuracy", caption, figure, pd.concat(tables, ignore_index=True))


def draw_loss(results: SuiteResults) -> Drawing:
    """Training loss over samples, smoothed, and the test loss after each epoch."""
    figure, (axes,) = style.new_figure()
    tables = []
    for number, run in enumerate(results.runs):
        samples = np.arange(1, len(run.steps) + 1)
        window = max(len(run.steps) // 20, 8)
        smooth = run.steps.loss.rolling(window, min_periods=window // 2).mean()
        axes.plot(
            samples,
            smooth,
            color=style.colour(number),
            linestyle=style.line(number),
            label=f"training, mean of {window}" if len(results.runs) == 1 else run.label,
            linewidth=1.4,
        )
        ends = run.steps.groupby("epoch").size().cumsum()
        axes.plot(
            ends,
            run.epochs.test_loss,
            color=style.colour(number),
            linestyle="none",
            marker="D",
            markersize=6,
            markeredgecolor="white",
            label="test, after each epoch" if len(results.runs) == 1 else None,
        )
        every = max(len(samples) // _LOSS_POINTS, 1)
        tables.append(pd.DataFrame({"run": run.label, "samples": samples, "loss_nats": smooth})[::every])
    axes.set_xlabel("Training samples seen")
    axes.set_ylabel("Cross-entropy (nats, measured)")
    axes.set_ylim(bottom=0)
    axes.set_title("Loss")
    if len(results.runs) == 1:
        axes.legend(loc="upper right")
    style.legend_beside(axes, len(results.runs))
    caption = "Lines: running mean of the training loss; diamonds: test loss after each epoch. Both from the device."
    return Drawing("loss", caption, figure, pd.concat(tables, ignore_index=True))


def draw_latency(results: SuiteResults) -> Drawing:
    """Time per training sample, by phase."""
    metrics = ("forward_s", "backward_s", "update_s")
    table = pd.DataFrame(
        [
            {
                "run": run.label,
                **{name: run.metrics[name].value for name in metrics},
                "origin": run.metrics["step_s"].origin,
            }
            for run in results.runs
        ]
    )
    figure, (axes,) = style.new_figure(height_in=1.5 + _BAR_HEIGHT_IN * len(table))
    _stack(axes, table, {name: BY_NAME[name].title for name in metrics}, 1e3, "{:.2f}")
    label = style.label_of(run.metrics["step_s"] for run in results.runs)
    axes.set_xlabel(f"Time per training sample (ms, {label})")
    axes.set_title("Latency of a training step")
    caption = "Core cycles of each phase ÷ core clock, mean over the last epoch; an update is shared by its mini-batch."
    return Drawing("latency", caption, figure, table)


def draw_memory(results: SuiteResults) -> Drawing:
    """RAM and flash, by what takes them."""
    rows = []
    for run in results.runs:
        ram, arena, stack, flash = (
            run.metrics[name].value for name in ("ram_bytes", "arena_bytes", "stack_bytes", "flash_bytes")
        )
        image = run.description["image"]["bytes"]
        rows.append(
            {
                "run": run.label,
                "arena": arena,
                "stack": stack,
                "variables": ram - arena - stack,
                "image": image,
                "firmware": flash - image,
            }
        )
    table = pd.DataFrame(rows)
    figure, (left, right) = style.new_figure(2, 1.5 + _BAR_HEIGHT_IN * len(table), 8.0)
    _stack(left, table, {"arena": "arena", "stack": "stack", "variables": "variables"}, 1 / _KB, "{:.0f}")
    _stack(right, table, {"image": "model image", "firmware": "firmware"}, 1 / _KB, "{:.0f}")
    right.set_yticklabels([])
    left.set_xlabel("RAM (KB, measured)")
    right.set_xlabel("Flash (KB, measured)")
    left.set_title("Memory")
    caption = "RAM: arena's peak, stack's high-water mark, the firmware's variables. Flash: firmware and model image."
    return Drawing("memory", caption, figure, table)


def _stack(axes: Axes, table: pd.DataFrame, parts: dict[str, str], scale: float, fmt: str) -> None:
    """Draw the columns `parts` of a table of runs, the legend beside."""
    values = {label: list(table[column] * scale) for column, label in parts.items()}
    stacked(axes, list(table.run) if len(table) > 1 else [""], values, fmt)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        handlelength=1.0,
    )


@dataclass(frozen=True)
class _Cost:
    """What a trade-off plot has on its axis: of one step if runs are compared, of the training so far if not."""

    metric: str
    per_step: str
    so_far: str
    unit_so_far: str


ENERGY: Final = _Cost("step_j", "energy per training step", "energy spent on training", "J")
LATENCY: Final = _Cost("step_s", "time per training step", "time spent on training", "s")


def draw_trade_off(results: SuiteResults, cost: _Cost, name: str) -> Drawing:
    """Accuracy against a cost, RAM as the marker's size; a single run shows its course over the epochs."""
    if len(results.runs) == 1:
        return _draw_course(results.runs[0], cost, name)
    metric = BY_NAME[cost.metric]
    table = pd.DataFrame([_point(run, cost.metric) for run in results.runs])
    front = pareto_front(list(zip(table[cost.metric], table.test_accuracy, strict=True)))
    table["on_pareto_front"] = table.index.isin(front)
    figure, (axes,) = style.new_figure(1, 4.4, 7.6)
    x, y = table[cost.metric] * metric.scale, table.test_accuracy * 100
    areas = _areas(table.ram_bytes)
    for number, row in table.iterrows():
        place = int(str(number))
        axes.scatter(
            x[place],
            y[place],
            s=areas[place],
            marker=style.MARKERS[row.origin],
            color=style.colour(place),
            alpha=0.85,
            edgecolor="#222222" if row.on_pareto_front else "white",
            linewidth=1.0,
            zorder=2,
        )
    label = style.label_of(run.metrics[cost.metric] for run in results.runs)
    _label(axes, cost.per_step, metric.unit, label)
    _draw_front(axes, x[front].to_numpy(), y[front].to_numpy())
    if len(table) <= style.MAX_LEGEND:
        _legend(axes, list(table.run + (table.ram_bytes / _KB).map("  ({:.0f} KB)".format)))
    caption = "Marker size: RAM. Dashed: the Pareto front; its runs, ringed in black, are beaten by no other."
    return Drawing(name, caption, figure, table)


def _draw_course(run: RunResult, cost: _Cost, name: str) -> Drawing:
    ram_kb, origin = run.metrics["ram_bytes"].value / _KB, run.metrics[cost.metric].origin
    table = pd.DataFrame(
        {
            "epoch": run.epochs.epoch + 1,
            "spent": _spent(run, cost),
            "unit": cost.unit_so_far,
            "origin": origin,
            "test_accuracy": run.epochs.test_accuracy,
            "ram_bytes": run.metrics["ram_bytes"].value,
        }
    )
    figure, (axes,) = style.new_figure(height_in=4.4)
    y = table.test_accuracy * 100
    axes.plot(table.spent, y, color=style.MUTED, linewidth=1.2, linestyle="--", zorder=1)
    axes.scatter(
        table.spent,
        y,
        s=_areas(table.ram_bytes)[0],
        marker=style.MARKERS[origin],
        color=style.colour(0),
        edgecolor="white",
        linewidth=1.0,
        zorder=2,
    )
    for place in {0, len(table) - 1}:
        axes.annotate(
            f"epoch {place + 1}\n{ram_kb:.0f} KB RAM",
            (table.spent[place], y[place]),
            xytext=(9, -7),
            textcoords="offset points",
            fontsize=9,
            ha="left",
            va="top",
        )
    _label(axes, cost.so_far, cost.unit_so_far, style.label_of([run.metrics[cost.metric]]))
    axes.set_xlim(0, table.spent.max() * 1.25)
    caption = f"Accuracy after each epoch against the {cost.so_far} until then. Marker size: RAM."
    return Drawing(name, caption, figure, table)


def _spent(run: RunResult, cost: _Cost) -> NDArray[np.float64]:
    """Return what training has cost up to the end of each epoch, in J or s; evaluation not counted."""
    if cost is ENERGY:
        per_epoch = run.epochs[["energy_forward_j", "energy_backward_j", "energy_update_j"]].sum(axis=1)
    else:
        cycles = (
            run.steps[["forward_cycles", "backward_cycles", "update_cycles"]].astype("float64").sum(axis=1)
        )
        per_epoch = cycles.groupby(run.steps.epoch).sum() / run.clock_hz
    return per_epoch.to_numpy(np.float64).cumsum()


def _label(axes: Axes, cost: str, unit: str, origin: str) -> None:
    axes.set_xlabel(f"{cost[0].upper()}{cost[1:]} ({unit}, {origin})")
    axes.set_ylabel("Test accuracy (%, measured)")
    axes.margins(0.18)
    axes.set_title(f"Accuracy against {cost}")


def _draw_front(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Draw the border of what the front beats: up from the cheapest run, to the right from the best one."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.plot(
        [x[0], *x, right],
        [bottom, *y, y[-1]],
        drawstyle="steps-post",
        color=style.MUTED,
        linewidth=1.2,
        linestyle="--",
        zorder=1,
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _legend(axes: Axes, labels: list[str]) -> None:
    """List the runs with markers of one size, so that a large one doesn't cover its neighbours' names."""
    small = [
        Line2D([], [], linestyle="none", marker="o", markersize=7, color=style.colour(number))
        for number in range(len(labels))
    ]
    small.append(Line2D([], [], color=style.MUTED, linestyle="--", linewidth=1.2))
    axes.legend(
        small,
        [*labels, "Pareto front"],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        title="run (RAM)",
        alignment="left",
    )


def _point(run: RunResult, cost: str) -> dict[str, object]:
    return {
        "run": run.label,
        cost: run.metrics[cost].value,
        "test_accuracy": run.metrics["test_accuracy"].value,
        "ram_bytes": run.metrics["ram_bytes"].value,
        "origin": run.metrics[cost].origin,
    }


def _areas(values: "pd.Series[float]") -> "pd.Series[float]":
    """Return marker areas in points²: linear in the value, so that sizes compare."""
    spread = values.max() - values.min()
    share = (values - values.min()) / spread if spread else values * 0 + 0.35
    return _AREA_SMALLEST + share * (_AREA_LARGEST - _AREA_SMALLEST)
