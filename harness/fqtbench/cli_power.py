"""The command `power`."""

from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich import box
from rich.live import Live
from rich.table import Table

from fqtbench.bench.job import Charge, PowerJob
from fqtbench.bench.pool import Pool, Task
from fqtbench.board import find_instance, load_instances, load_models
from fqtbench.cli_options import BenchOption, JsonOption, errors, interruptible, output, print_json
from fqtbench.errors import MonitorError, UsageError
from fqtbench.quantity import finite, si

_SETUP_DEADLINE_S: Final = 180.0


def power(
    board: Annotated[str, typer.Argument(help="Name of a board; `fqtbench boards` lists them.")],
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=86_400, help="Look for so many seconds.")
    ] = 10.0,
    wiring: Annotated[
        bool, typer.Option("--wiring/--no-wiring", help="Then try whether the trigger pin is wired.")
    ] = True,
    save: Annotated[
        Path | None, typer.Option("--save", help="File to write all samples to, *.parquet.")
    ] = None,
    bench: BenchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a board draws, and whether its trigger pin is wired to the instrument; exit code 3 if it isn't.

    Nothing is programmed. The wiring is tried with the firmware and the network that are on the board.
    """
    models = load_models()
    instance = find_instance(board, load_instances(models, bench))
    model = models[instance.model]
    trace = _writable(save)
    seen: dict[str, dict[str, Any]] = {}
    sights: list[dict[str, Any]] = []
    task = Task(
        "power",
        model.name,
        PowerJob(seconds=seconds, wiring=wiring, trace=trace),
        seconds + _SETUP_DEADLINE_S,
    )
    try:
        with (
            interruptible("interrupted; the board goes on with what it did"),
            Pool([Charge(instance=instance, model=model)]) as pool,
            Live(console=errors, transient=True, auto_refresh=False) as live,
        ):

            def show(_: Task, __: str, event: dict[str, Any]) -> None:
                seen[event["event"]] = event
                if event["event"] == "power_sight":
                    sights.append(event)
                    if errors.is_terminal and not as_json:
                        live.update(_sight_table(board, seen["instrument"], event), refresh=True)

            pool.run([task], show)
    finally:
        if trace is not None:
            trace.with_name(f"{trace.name}.tmp").unlink(missing_ok=True)  # of a worker that was ended
    _report_power(board, seen, sights, save, as_json)


def _writable(save: Path | None) -> Path | None:
    if save is None:
        return None
    if not save.resolve().parent.is_dir():
        raise UsageError(f"--save {save}: there is no folder {save.parent}; make it, or choose another")
    return save.resolve()


def _report_power(
    board: str,
    seen: dict[str, dict[str, Any]],
    sights: list[dict[str, Any]],
    save: Path | None,
    as_json: bool,
) -> None:
    wiring = seen.get("wiring")
    if as_json:
        facts = {key: _without_kind(seen.get(key)) for key in ("instrument", "power_model", "wiring")}
        saved = None if save is None or "instrument" not in seen else str(save)
        print_json({"board": board, **facts, "sights": [_without_kind(s) for s in sights], "saved": saved})
    elif "power_model" in seen:
        _say_model(board, seen["power_model"], save)
    else:
        _say_sum(board, seen["instrument"], sights, save)
        if wiring is not None and wiring["verdict"] == "wired":
            output.print(f"{board}: {wiring['text']}", markup=False, highlight=False)
    if wiring is not None and wiring["verdict"] != "wired":
        raise MonitorError(f"board {board}: trigger pin: {wiring['text']}")


def _say_model(board: str, model: dict[str, Any], save: Path | None) -> None:
    output.print(
        f"{board}: no instrument, its power is modelled: {si(model['active_w'], 'W')} active, "
        f"{si(model['idle_w'], 'W')} idle\nmodel: {model['model_id']}",
        markup=False,
        highlight=False,
    )
    if save is not None:
        errors.print(f"{save}: not written, there are no samples", markup=False)


def _say_sum(board: str, instrument: dict[str, Any], sights: list[dict[str, Any]], save: Path | None) -> None:
    n, lost = (sum(sight[key] for sight in sights) for key in ("n_samples", "n_lost"))
    known = [s for s in sights if s["mean_a"] is not None]
    lines = [f"{board}: {instrument['name']}, {n} samples, {lost} lost"]
    if known:
        weights = [s["n_samples"] - s["n_unusable"] for s in known]
        mean_a, mean_w = (
            float(np.average([s[key] for s in known], weights=weights)) for key in ("mean_a", "mean_w")
        )
        lowest, highest = min(s["min_a"] for s in known), max(s["max_a"] for s in known)
        lines.append(
            f"mean {si(mean_a, 'A')} ({si(lowest, 'A')} to {si(highest, 'A')}), {si(mean_w, 'W')} at "
            f"{instrument['volts']:g} V"
        )
    if not n and instrument["origin"] == "modelled":
        lines.append("a virtual board draws nothing while it waits for its host: its time stands still")
    if save is not None:
        lines.append(f"trace: {save.resolve()}")
    output.print("\n".join(lines), markup=False, highlight=False)


def _sight_table(board: str, instrument: dict[str, Any], sight: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{board}: {instrument['name']}", title_justify="left")
    for column in ("current", "min", "max", "power", "inputs 0-7", "lost", "windows", "last windows"):
        table.add_column(column, justify="right", no_wrap=True)
    marks = {"low": "_", "high": "‾", "both": "x"}
    table.add_row(
        si(sight["mean_a"], "A"),
        si(sight["min_a"], "A"),
        si(sight["max_a"], "A"),
        si(sight["mean_w"], "W"),
        "".join(marks[level] for level in sight["levels"]),
        str(sight["n_lost"]),
        str(sight["n_windows"]),
        " ".join(si(value, "J") for value in sight["last_j"][-3:]),
    )
    return table


def _without_kind(event: dict[str, Any] | None) -> dict[str, Any] | None:
    return (
        None
        if event is None
        else dict(finite({key: value for key, value in event.items() if key != "event"}))
    )
