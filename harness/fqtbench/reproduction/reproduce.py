"""Run what figures need, and draw them. An interrupted reproduction goes on where it stopped.

`folder` gets ``suites/<name>``, a results folder each; ``tables``, what the figures are drawn from; ``figures``; and
``hours.json``, how long each suite's runs took, summed over them.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pandas as pd

from fqtbench import datasets
from fqtbench.board import BoardInstance, BoardModel, find_instance
from fqtbench.durable import write_durably
from fqtbench.errors import FqtbenchError, ResultError, UsageError
from fqtbench.experiment.results import SuiteResults, load_results
from fqtbench.experiment.runner import Observer, Order, run_suite
from fqtbench.experiment.spec import Suite, load_suite, packaged_suite
from fqtbench.experiment.store import JOURNAL
from fqtbench.report.page import write_drawing
from fqtbench.reproduction import figures as known
from fqtbench.reproduction.tables import loss_table, partial_table, runs_table
from fqtbench.schema import nearest

SUITES: Final = "suites"
TABLES: Final = "tables"
FIGURES: Final = "figures"
HOURS: Final = "hours.json"


@dataclass(frozen=True)
class Reproduction:
    """What the caller wants: figures by name, whole or quick, into which folder."""

    figures: tuple[str, ...]
    folder: Path
    instances: Mapping[str, BoardInstance]
    models: dict[str, BoardModel]
    quick: bool = False

    def suites(self) -> list[str]:
        """Return the names of the suites that the figures need, each once."""
        return list(dict.fromkeys(suite for name in self.figures for suite in known.FIGURES[name].suites))


def check_figures(names: Iterable[str]) -> tuple[str, ...]:
    """Return the figures asked for, all of them if none is; UsageError names one that isn't known."""
    wanted = tuple(dict.fromkeys(names)) or tuple(known.FIGURES)
    for name in wanted:
        if name not in known.FIGURES:
            raise UsageError(f"no figure {name}{nearest(name, known.FIGURES)}")
    return wanted


def run_suites(order: Reproduction, observer: Observer, began: Callable[[str, int, int], None]) -> None:
    """Run what isn't recorded yet of each suite, announced to `began` (name, number, how many); fetch its dataset."""
    suites = order.suites()
    for number, name in enumerate(suites, 1):
        began(name, number, len(suites))
        suite = load_suite(packaged_suite(name), quick=order.quick)
        for variant in suite.variants:
            datasets.fetch(variant.spec.dataset.name)
        boards = _boards(suite, order.instances, order.models)
        folder = order.folder / SUITES / name
        try:
            run_suite(Order(suite, boards, order.models, folder, resume=True), observer)
        except FqtbenchError as error:
            raise type(error)(f"suite {name}: {error} (the same command goes on)") from error


def _boards(
    suite: Suite, instances: Mapping[str, BoardInstance], models: Mapping[str, BoardModel]
) -> Sequence[BoardInstance]:
    """Return the suite's boards; one that is a library in a worker, once for each of this computer's cores."""
    found = []
    for name in suite.spec.boards:
        board = find_instance(name, dict(instances))
        copies = (os.cpu_count() or 1) if models[board.model].link == "library" else 1
        found += [board, *(board.model_copy(update={"name": f"{name}-{n}"}) for n in range(2, copies + 1))]
    return found


def draw(order: Reproduction) -> list[Path]:
    """Write the tables of every suite that has run and draw the figures; return the SVGs.

    Raises ResultError if a suite that one of the figures needs hasn't run.
    """
    every = {suite for figure in known.FIGURES.values() for suite in figure.suites}
    folders = {name: order.folder / SUITES / name for name in sorted(every)}
    wanted = order.suites()
    results = {
        name: _results(folder, name)
        for name, folder in folders.items()
        if name in wanted or (folder / JOURNAL).is_file()
    }
    _write_tables(order.folder / TABLES, results)
    hours = {name: _hours(suite) for name, suite in results.items()}
    write_durably(order.folder / HOURS, (json.dumps(hours, indent=1) + "\n").encode())
    return draw_from_tables(order.folder, order.figures)


def _results(folder: Path, name: str) -> SuiteResults:
    try:
        return load_results(folder)
    except ResultError as error:
        raise ResultError(f"suite {name} has not run: {error}") from error


def _write_tables(folder: Path, results: Mapping[str, SuiteResults]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tables = {known.RUNS: runs_table(results)}
    if losses := {name: results[name] for name in known.LOSS_SUITES if name in results}:
        tables[known.LOSS] = loss_table(losses)
    if all(name in results for name in known.PARTIAL_SUITES):
        tables[known.PARTIAL] = partial_table(*(results[name] for name in known.PARTIAL_SUITES))
    for name, table in tables.items():
        write_durably(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())


def draw_from_tables(folder: Path, names: Iterable[str]) -> list[Path]:
    """Draw figures from the tables in `folder`; return the SVGs.

    Raises ResultError if there are no tables, or a suite is missing in them that one of the figures needs.
    """
    from fqtbench.report import style  # noqa: PLC0415  (matplotlib takes a second to import)

    tables = {
        path.stem: pd.read_csv(path, keep_default_na=False, na_values=[""])
        for path in (folder / TABLES).glob("*.csv")
    }
    if known.RUNS not in tables:
        raise ResultError(f"{folder} has no {TABLES}/{known.RUNS}.csv to draw from")
    known_suites = set(tables[known.RUNS].suite)
    paths = []
    for name in names:
        if missing := [suite for suite in known.FIGURES[name].suites if suite not in known_suites]:
            raise ResultError(f"{folder}: figure {name} needs suite {missing[0]}, which has not run")
        with style.house_style():
            drawing = known.FIGURES[name].draw(tables)
        paths.append(write_drawing(drawing, folder / FIGURES, name))
    return paths


def _hours(results: SuiteResults) -> float:
    """Return the hours that the runs took, one after the other."""
    spans = [
        datetime.fromisoformat(run.description["ended"]) - datetime.fromisoformat(run.description["started"])
        for run in results.runs
    ]
    return round(sum(span.total_seconds() for span in spans) / 3600, 3)
