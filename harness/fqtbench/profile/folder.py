"""The files of a profile."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fqtbench.errors import ResultError
from fqtbench.profile.engine import Phase
from fqtbench.profile.flame import draw, folded
from fqtbench.profile.listing import listing
from fqtbench.profile.model import FILE_NAME, Cost, Profile
from fqtbench.profile.symbols import FirmwareMap


def write_folder(profile: Profile, firmware: FirmwareMap, folder: Path) -> None:
    """Write all files; ResultError where the folder can't be written."""
    subject = profile.subject
    title = f"{subject.run} on {subject.board}: {profile.cycles / subject.steps:,.0f} cycles a step ({subject.counted})"
    files = {
        FILE_NAME: profile.model_dump_json(indent=1),
        "layers.csv": _csv(_layer_rows(profile)),
        "functions.csv": _csv(_function_rows(profile)),
        "memory.csv": _csv(_memory_rows(profile)),
        "blocks.txt": listing(profile, firmware),
        "flame.folded": folded(profile.stacks),
        "flame.svg": draw(profile.stacks, title, subject.steps),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"can't write {folder}: {error.strerror}; choose another folder with --out"
        ) from error


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def _layer_rows(profile: Profile) -> Iterable[dict[str, Any]]:
    for layer in profile.layers:
        for phase in Phase:
            cost = layer.phases.get(phase.key)
            if cost is not None:
                yield _layer_row(layer.name, layer.type, phase.key, cost, layer.macs.get(phase.key, 0))
    for phase in Phase:
        cost = profile.rest.get(phase.key)
        if cost is not None:
            yield _layer_row("", "no layer", phase.key, cost, 0)
    yield _layer_row("", "outside", "", profile.outside, 0)
    yield _layer_row("", "asleep", "", Cost(cycles=profile.asleep_cycles), 0)


def _layer_row(layer: str, kind: str, phase: str, cost: Cost, macs: int) -> dict[str, Any]:
    return {
        "layer": layer,
        "type": kind,
        "phase": phase,
        "cycles": cost.cycles,
        "instructions": cost.instructions,
        "macs": macs or "",
        "cycles_per_mac": f"{cost.cycles / macs:.4f}" if macs else "",
        "instructions_per_mac": f"{cost.instructions / macs:.4f}" if macs else "",
    }


def _function_rows(profile: Profile) -> Iterable[dict[str, Any]]:
    for function in profile.functions:
        yield {
            "function": function.name,
            "address": f"0x{function.address:08x}",
            "calls": function.calls,
            "own_cycles": function.own.cycles,
            "own_instructions": function.own.instructions,
            "total_cycles": function.total.cycles,
            "total_instructions": function.total.instructions,
        }


def _memory_rows(profile: Profile) -> Iterable[dict[str, Any]]:
    memory = profile.memory
    fixed = (
        ("arena", "peak", 0, memory.arena_peak_bytes),
        ("arena", "all", 0, memory.arena_bytes),
        ("stack", "peak", 0, memory.stack_peak_bytes),
        ("stack", "all", 0, memory.stack_bytes),
        ("image", "model image", memory.image_bytes, 0),
    )
    uses = [("section", use) for use in memory.sections] + [("symbol", use) for use in memory.symbols]
    rows = (*fixed, *((kind, use.name, use.flash_bytes, use.ram_bytes) for kind, use in uses))
    for kind, name, flash_bytes, ram_bytes in rows:
        yield {"kind": kind, "name": name, "flash_bytes": flash_bytes, "ram_bytes": ram_bytes}
