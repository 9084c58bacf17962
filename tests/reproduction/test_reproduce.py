"""Promise: a reproduction goes on where it stopped, repeats nothing, and draws from its tables alone."""

from pathlib import Path
from typing import Any

import pytest

from fqtbench.board import load_instances, load_models
from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment.plan import Run
from fqtbench.reproduction import figures, reproduce
from fqtbench.reproduction.drawings.accuracy import draw_scratch
from fqtbench.reproduction.figures import RUNS, FigureOf
from fqtbench.reproduction.reproduce import Reproduction, check_figures, draw, draw_from_tables, run_suites
from tests.tools import require

_SUITE = """
name: scratch-small
boards: [host]
dataset: {name: fashion-mnist-12k, train: 40, test: 20}
network:
  layers:
    - {type: conv2d, filters: 4, stride: 2}
    - {type: max_pool}
    - {type: fully_connected, units: 10, activation: linear}
training: {batch: 8}
sweep:
  training.recipe: [best, paper]
  training.configuration: [uint8, float32]
verify: 8
"""


class _Observer:
    """Counts runs; stops the reproduction, as Ctrl-C does, once `stop_after` are recorded."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.recorded_before, self.n_recorded, self._stop_after = 0, 0, stop_after

    def planned(self, run: Run, n_runs: int) -> None: ...

    def began(self, n_runs: int, n_recorded: int) -> None:
        self.recorded_before = n_recorded

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None: ...

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        self.n_recorded += 1
        if self.n_recorded == self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reproduction:
    path = tmp_path / "scratch-small.yaml"
    path.write_text(_SUITE)
    figure = FigureOf("small", ("scratch-small",), lambda tables: draw_scratch(tables[RUNS]))
    monkeypatch.setattr(figures, "FIGURES", {"small": figure})
    monkeypatch.setattr(reproduce, "packaged_suite", lambda name: path)
    models = load_models()
    return Reproduction(("small",), tmp_path / "out", load_instances(models), models)


def test_an_interrupted_reproduction_goes_on_and_repeats_nothing(order: Reproduction) -> None:
    require("cc", "gcc")
    with pytest.raises(ResultError, match="suite scratch-small has not run"):
        draw(order)
    with pytest.raises(KeyboardInterrupt):
        run_suites(order, _Observer(stop_after=1), lambda *_: None)
    rest, nothing = _Observer(), _Observer()
    run_suites(order, rest, lambda *_: None)
    assert (rest.recorded_before, rest.recorded_before + rest.n_recorded) == (1, 4)
    run_suites(order, nothing, lambda *_: None)
    assert (nothing.recorded_before, nothing.n_recorded) == (4, 0)

    (path,) = draw(order)
    drawn = path.read_bytes()
    table = path.with_suffix(".csv").read_text()
    assert {"measured", "published"} == {line.rpartition(",")[2] for line in table.splitlines()[1:]}
    path.unlink()
    assert draw_from_tables(order.folder, ["small"]) == [path]
    assert path.read_bytes() == drawn


def test_an_unknown_figure_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match="no figure acuracy; did you mean accuracy"):
        check_figures(["acuracy"])
    assert check_figures([]) == tuple(figures.FIGURES)
