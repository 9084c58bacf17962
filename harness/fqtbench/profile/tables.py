"""A profile in the terminal."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table

from fqtbench.profile.diff import Change
from fqtbench.profile.engine import Phase
from fqtbench.profile.model import Cost, PhaseName, Profile

WIDTH: Final = 110  # characters that the tables need
_NOTHING: Final = Cost()
_DASH: Final = "–"


def layers_table(profile: Profile) -> Table:
    """Return layers × phases: cycles a step, and per multiply-accumulate."""
    subject = profile.subject
    what = f"cycles a step, and per MAC; {subject.counted}, mean of {subject.steps} steps"
    title = f"{subject.run} on {subject.board}: {what}"
    table = Table("layer", box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for phase in Phase:
        table.add_column(phase.title, justify="right")
    table.add_column("all", justify="right")
    table.add_column("share", justify="right")
    for layer in profile.layers:
        _add(table, profile, layer.name, layer.phases, layer.macs)
    _add(table, profile, "no layer", profile.rest, {})
    table.add_section()
    phases = {phase.key: _sum(profile, phase.key) for phase in Phase}
    _add(table, profile, "training step", phases, _macs(profile))
    _add(table, profile, "outside", {"": profile.outside}, {})
    return table


def _add(
    table: Table,
    profile: Profile,
    name: str,
    phases: dict[PhaseName, Cost] | dict[str, Cost],
    macs: dict[PhaseName, int],
) -> None:
    costs = {str(key): cost.cycles for key, cost in phases.items()}
    total, steps = sum(costs.values()), profile.subject.steps
    if total == 0:
        return
    cells = [_cell(costs.get(p.key, 0), macs.get(p.key, 0), steps) for p in Phase]
    everything = _cell(total, sum(macs.values()), steps)
    table.add_row(name, *cells, everything, f"{total / max(_executed(profile), 1):.1%}")


def _cell(cycles: int, macs: int, steps: int) -> str:
    if cycles == 0:
        return _DASH
    return f"{cycles / steps:,.0f}" + (f"\n{cycles / macs:.2f}" if macs else "")


def _sum(profile: Profile, phase: PhaseName) -> Cost:
    costs = [layer.phases.get(phase, _NOTHING) for layer in profile.layers]
    return sum(costs, profile.rest.get(phase, _NOTHING))


def _macs(profile: Profile) -> dict[PhaseName, int]:
    return {phase.key: sum(layer.macs.get(phase.key, 0) for layer in profile.layers) for phase in Phase}


def _executed(profile: Profile) -> int:
    return profile.cycles - profile.asleep_cycles


def functions_table(profile: Profile, n: int = 15) -> Table:
    """Return the `n` functions that take most cycles themselves."""
    table = Table("function", box=box.SIMPLE_HEAD, title="functions", title_justify="left")
    for title in ("calls", "own cycles", "share", "instructions", "with callees"):
        table.add_column(title, justify="right")
    steps = profile.subject.steps
    for f in profile.functions[:n]:
        table.add_row(
            f.name,
            f"{f.calls / steps:,.1f}",
            f"{f.own.cycles / steps:,.0f}",
            f"{f.own.cycles / max(_executed(profile), 1):.1%}",
            f"{f.own.instructions / steps:,.0f}",
            f"{f.total.cycles / steps:,.0f}",
        )
    return table


def memory_line(profile: Profile) -> str:
    """Return the memory figures as one sentence."""
    m = profile.memory
    flash = sum(use.flash_bytes for use in m.sections)
    ram = sum(use.ram_bytes for use in m.sections)
    return (
        f"memory: arena {m.arena_peak_bytes:,} of {m.arena_bytes:,} bytes, stack {m.stack_peak_bytes:,} of "
        f"{m.stack_bytes:,}; firmware {flash:,} bytes of flash and {ram:,} of RAM (stack included), model image "
        f"{m.image_bytes:,} bytes of flash"
    )


def changes_table(changes: Sequence[Change], n: int) -> Table:
    """Return the first `n` changes of cycles, and of bytes."""
    table = Table("what", "name", "unit", box=box.SIMPLE_HEAD)
    for title in ("before", "after", "change", "relative"):
        table.add_column(title, justify="right")
    for unit in ("cycles", "bytes"):
        for change in [c for c in changes if c.unit == unit][:n]:
            relative = _DASH if change.ratio is None else f"{change.ratio:+.1%}"
            table.add_row(
                change.kind,
                change.name,
                "cycles/step" if unit == "cycles" else unit,
                _figure(change.before),
                _figure(change.after),
                f"{change.difference:+,.0f}",
                relative,
            )
        table.add_section()
    return table


def _figure(value: float | None) -> str:
    return _DASH if value is None else f"{value:,.0f}"
