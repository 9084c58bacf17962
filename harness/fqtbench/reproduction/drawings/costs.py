"""What a training step costs: time and energy by phase, memory by what takes it, on three boards."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.report.stacked import stacked
from fqtbench.reproduction.drawings import bars
from fqtbench.reproduction.published import SOURCE, published

_KB: Final = 1024
_TASK: Final = {
    "boards-cnn": "CNN 28×28",
    "boards-mobilenet": "MobileNetV2",
    "boards-mcunet": "MCUNet scale",
    "boards-watch": "1-D CNN, watch",
    "boards-engine": "1-D CNN, engine",
    "boards-speech": "1-D CNN, speech",
}
_RAM: Final = {
    "activations": ("ram.activation",),
    "errors": ("ram.error",),
    "weights and gradients": ("ram.weights", "ram.gradient"),
    "samples, tables, scratch": ("ram.state",),
}
_ROW_IN: Final = 0.24
_PAPERS_BOARD: Final = "mimxrt1062"  # on which the paper's memory is stated


def _on_boards(runs: pd.DataFrame) -> pd.DataFrame:
    own = runs[runs.suite.isin(list(_TASK))].copy()
    suffix = own.recipe.map({"best": "", "paper": " (paper)"})
    own["network"] = own.suite.map(_TASK)
    own["label"] = own.network + ", " + own.board + ", " + own.configuration + suffix
    own["place"] = own.suite.map({suite: number for number, suite in enumerate(_TASK)})
    return own.sort_values(["place", "board", "configuration", "recipe"])


def draw_latency(runs: pd.DataFrame) -> Drawing:
    """Forward, backward and update of a sample; the paper's totals beside."""
    own = _on_boards(runs)
    table = own[["label", "forward_s", "backward_s", "update_s", "step_s"]].assign(
        origin=own["step_s.origin"]
    )
    theirs = pd.concat([published("scratch", "step_s"), published("transfer", "step_s")])
    theirs = theirs.assign(label=theirs.task + ", " + theirs.board + ", " + theirs.configuration)
    figure, (left, right) = style.new_figure(2, 1.4 + _ROW_IN * max(len(own), len(theirs)), 12.0)
    phases = {name: list(table[f"{name}_s"] * 1e3) for name in ("forward", "backward", "update")}
    bars.dots(left, list(table.label), phases)
    left.set_xlabel(f"Time per training sample (ms, {style.origins(table.origin)})")
    left.set_title("Latency of a training step")
    left.legend(loc="best")
    forward = published("scratch", "forward_s").set_index(["board", "configuration"]).value
    ours = list(zip(theirs.board, theirs.configuration, theirs.network, strict=True))
    stated = [
        forward.get((b, c), float("nan")) if network == "cnn-28" else float("nan") for b, c, network in ours
    ]
    bars.dots(right, list(theirs.label), {"whole step": list(theirs.value), "forward": stated})
    right.legend(loc="best")
    right.set_xlabel("Time per training sample (ms, published)")
    right.set_title(f"The paper's whole steps ({SOURCE})", fontsize=9)
    caption = (
        "(paper): recipe paper. An update is shared by its mini-batch; at batch 1 it is part of backward."
    )
    rest = pd.DataFrame({"label": theirs.label, "step_s": theirs.value / 1e3, "origin": "published"}).assign(
        forward_s=[value / 1e3 for value in stated]
    )
    return Drawing("latency", caption, figure, pd.concat([table, rest]))


def draw_energy(runs: pd.DataFrame) -> Drawing:
    """Energy of a training step and of an inference."""
    own = _on_boards(runs)
    table = own[["label", "step_j", "inference_j"]].assign(origin=own["step_j.origin"])
    figure, (axes,) = style.new_figure(1, 1.4 + _ROW_IN * len(own), 8.0)
    series = {"training step": list(table.step_j * 1e3), "inference": list(table.inference_j * 1e3)}
    bars.dots(axes, list(table.label), series)
    axes.set_xlabel(f"Energy per sample (mJ, {style.origins(table.origin)})")
    axes.set_title("Energy")
    axes.legend(loc="best")
    caption = "(paper): recipe paper. The paper's own energies are not plausible as absolute power and are not shown."
    return Drawing("energy", caption, figure, table)


def draw_memory(runs: pd.DataFrame) -> Drawing:
    """RAM at its fullest moment by what takes it, and flash; the paper's totals beside."""
    own = _on_boards(runs)
    own = own[own.board == _PAPERS_BOARD]
    labels = [label.replace(f", {_PAPERS_BOARD}", "") for label in own.label]
    own = own.assign(
        label=labels, variables=own.ram_bytes - own[[k for v in _RAM.values() for k in v]].sum(axis=1)
    )
    theirs = published("transfer", "ram_bytes")
    flash = published("transfer", "flash_bytes")
    n = max(len(own), len(theirs))
    figure, (left, middle, right) = style.new_figure(3, 1.4 + _ROW_IN * n, 14.0)
    parts = {name: list(own[list(columns)].sum(axis=1) / _KB) for name, columns in _RAM.items()}
    parts["stack, variables, gaps"] = list(own.variables / _KB)
    stacked(left, labels, parts, "{:.0f}")
    left.set_xlabel("RAM (KB, measured)")
    left.set_title(f"RAM on the {_PAPERS_BOARD}")
    left.legend(loc="lower right", fontsize=8)
    stacked(middle, labels, {"flash": list(own.flash_bytes / _KB)}, "{:.0f}")
    middle.set_yticklabels([])
    middle.set_xlabel("Flash (KB, measured)")
    middle.set_title("Flash")
    names = list(theirs.task + ", " + theirs.configuration)
    stacked(right, names, {"RAM": list(theirs.value)}, "{:.0f}")
    right.set_xlabel("RAM (KB, published)")
    right.set_title(f"The paper's ({SOURCE})", fontsize=9)
    columns = ["label", "board", *(k for v in _RAM.values() for k in v), "ram_bytes", "flash_bytes"]
    rest = [
        pd.DataFrame({"label": t.task + ", " + t.configuration, column: t.value * _KB, "origin": "published"})
        for t, column in ((theirs, "ram_bytes"), (flash, "flash_bytes"))
    ]
    caption = "(paper): recipe paper. RAM by kind is that at the fullest moment of a step; the total is the device's."
    return Drawing("memory", caption, figure, pd.concat([own[columns].assign(origin="measured"), *rest]))


def draw_mcunet(runs: pd.DataFrame) -> Drawing:
    """Memory (flash and RAM) and latency against MCUNet's, on the RT1062."""
    own = runs[runs.suite.isin(["boards-mobilenet", "boards-mcunet"]) & (runs.board == _PAPERS_BOARD)]
    table = pd.DataFrame(
        {
            "label": [f"ours, {_TASK[s]}, {c}" for s, c in zip(own.suite, own.configuration, strict=True)],
            "memory_bytes": own.ram_bytes + own.flash_bytes,
            "step_s": own.step_s,
            "memory.origin": "measured",
            "step.origin": own["step_s.origin"],
        }
    )
    theirs = published("mcunet", "memory_bytes")
    steps = published("mcunet", "step_s")
    rest = pd.DataFrame(
        {
            "label": "published, " + theirs.network + ", " + theirs.configuration,
            "memory_bytes": theirs.value.to_numpy() * _KB,
            "step_s": steps.value.to_numpy() / 1e3,
            "memory.origin": "published",
            "step.origin": "published",
        }
    )
    table = pd.concat([table, rest], ignore_index=True)
    figure, (left, right) = style.new_figure(2, 1.4 + 0.34 * len(table), 10.0)
    panels: Mapping[str, tuple[list[float], str, str]] = {
        "Flash and RAM": (list(table.memory_bytes / _KB), "{:.0f}", "Memory (KB, measured and published)"),
        "Training step": (
            list(table.step_s * 1e3),
            "{:.1f}",
            f"Time per sample (ms, {style.origins(table['step.origin'])})",
        ),
    }
    for axes, (title, (values, form, label)) in zip((left, right), panels.items(), strict=True):
        stacked(axes, list(table.label), {title: values}, form)
        axes.set_title(title)
        axes.set_xlabel(label)
    right.set_yticklabels([])
    caption = f"i.MX RT1062, batch 1. Published: {SOURCE}."
    return Drawing("mcunet", caption, figure, table)
