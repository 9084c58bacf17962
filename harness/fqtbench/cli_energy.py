"""The command `energy`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich import box
from rich.table import Table

from fqtbench.cli_options import JsonOption, errors, interruptible, output, print_json
from fqtbench.errors import UsageError
from fqtbench.experiment.energy import CONFIDENCE, PhaseEnergy, describe
from fqtbench.power import PHASES
from fqtbench.power.analysis import Analysis, analyse
from fqtbench.power.importing import load
from fqtbench.power.instrument import Flag
from fqtbench.power.windows import TableOfWindows
from fqtbench.quantity import finite, si

_ROWS: Final = 20


def energy(
    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A trace: .ppk2, .jls, .csv, or .parquet of ours.")
    ],
    trigger: Annotated[
        int, typer.Option("--trigger", min=0, max=7, help="Digital input that is high in a window.")
    ] = 0,
    volts: Annotated[
        float | None,
        typer.Option("--volts", min=0.01, max=60, help="The supply in V, where the trace doesn't say it."),
    ] = None,
    phases: Annotated[
        int,
        typer.Option(
            "--phases", min=1, max=3, help="Windows in turn: 3 are forward, backward, update of a step."
        ),
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Cut a trace into windows, and say the energy of each; exit code 2 if there is none.

    It reads what the nRF Connect Power Profiler saves (.ppk2) and exports (.csv), Joulescope's .jls, Otii's and
    similar .csv, and .parquet of `fqtbench power --save` or of a run. Its content tells what it is.
    """
    with interruptible("interrupted"), errors.status(f"reading {trace}"):
        found = analyse(load(trace), trigger, volts)
    names = ("window",) if phases == 1 else PHASES[:phases]
    spreads = _spreads(found, names)
    if as_json:
        print_json(_analysis_json(found, names, spreads))
    else:
        _print_analysis(found, names, spreads)
    if not len(found.usable()):
        raise UsageError(
            f"{trace}: no window could be measured: digital input {trigger} "
            f"{'has windows, but none without a fault' if len(found.windows) else 'never rises and falls'}; "
            "choose another by --trigger, or record again"
        )


def _spreads(found: Analysis, names: tuple[str, ...]) -> dict[str, PhaseEnergy | None]:
    """Return what each phase's usable windows say: the i-th window of the trace is of phase i mod n."""
    number = np.searchsorted(found.windows["begin"], found.usable()["begin"])
    return {name: _spread(found, found.usable()[number % len(names) == i]) for i, name in enumerate(names)}


def _spread(found: Analysis, windows: TableOfWindows) -> PhaseEnergy | None:
    durations_s = (windows["end"] - windows["begin"]) / found.rate_hz
    return describe(windows["energy_j"], windows["uncertainty_j"], durations_s, found.idle_w)


def _print_analysis(found: Analysis, names: tuple[str, ...], spreads: dict[str, PhaseEnergy | None]) -> None:
    faults = (
        ", ".join(f"{n} {_word(name)}" for name, n in found.counts.items() if n) or "none lost or flagged"
    )
    output.print(
        f"{found.name}: {found.n_samples} samples, {found.n_samples / found.rate_hz:.6g} s at {found.rate_hz:g} Hz; "
        f"{faults}\nmean {si(found.mean_a, 'A')}; {si(found.idle_w, 'W')} between the windows",
        markup=False,
        highlight=False,
    )
    output.print(_windows_table(found, names))
    if len(found.windows) > _ROWS:
        output.print(f"… and {len(found.windows) - _ROWS} more; --json has them all", highlight=False)
    output.print(_spreads_table(spreads))


def _windows_table(found: Analysis, names: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("#", "phase", "begin", "duration", "energy", "± edges", "flags"):
        table.add_column(column, justify="right", no_wrap=True)
    for i, window in enumerate(found.windows[:_ROWS]):
        table.add_row(
            str(i),
            names[i % len(names)],
            si(int(window["begin"]) / found.rate_hz, "s"),
            si(int(window["end"] - window["begin"]) / found.rate_hz, "s"),
            si(float(window["energy_j"]), "J"),
            si(float(window["uncertainty_j"]), "J"),
            _flags(window),
        )
    return table


def _spreads_table(spreads: dict[str, PhaseEnergy | None]) -> Table:
    """A column for each phase, of which there are fewer than figures: all of it fits into 80 characters."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in spreads:
        table.add_column(name, justify="right", no_wrap=True)
    columns = [_figures(phase) for phase in spreads.values()]
    titles = ("windows", "mean", "median", f"{CONFIDENCE:.0%} of the median", "± edges", "median above idle")
    for title, *cells in zip(titles, *columns, strict=True):
        table.add_row(title, *cells)
    return table


def _figures(phase: PhaseEnergy | None) -> tuple[str, ...]:
    """Return what a phase's column says, from top to bottom."""
    if phase is None:
        return ("0", *["–"] * 5)
    interval = phase.all.interval_j
    return (
        str(phase.n_windows),
        si(phase.all.mean_j, "J"),
        si(phase.all.median_j, "J"),
        "–" if interval is None else " to ".join(si(value, "J") for value in interval),
        si(phase.edge_uncertainty_j, "J"),
        "–" if phase.above_idle is None else si(phase.above_idle.median_j, "J"),
    )


def _analysis_json(
    found: Analysis, names: tuple[str, ...], spreads: dict[str, PhaseEnergy | None]
) -> dict[str, Any]:
    windows = [
        {
            "phase": names[i % len(names)],
            "begin_s": int(window["begin"]) / found.rate_hz,
            "duration_s": int(window["end"] - window["begin"]) / found.rate_hz,
            "energy_j": float(window["energy_j"]),
            "uncertainty_j": float(window["uncertainty_j"]),
            "whole": bool(window["whole"]),
            "flags": [str(flag.name) for flag in Flag if int(window["flags"]) & flag],
        }
        for i, window in enumerate(found.windows)
    ]
    about = {
        "trace": found.name,
        "rate_hz": found.rate_hz,
        "n_samples": found.n_samples,
        "mean_a": found.mean_a,
        "idle_w": found.idle_w,
        "flagged_samples": found.counts,
        "phases": {name: None if phase is None else asdict(phase) for name, phase in spreads.items()},
        "windows": windows,
    }
    return dict(finite(about))


def _flags(window: Any) -> str:
    found = [_word(str(flag.name)) for flag in Flag if int(window["flags"]) & flag]
    return ", ".join(found if window["whole"] else [*found, "cut off"])


def _word(flag: str) -> str:
    return flag.lower().replace("_", " ")
