"""Promise: a lab's tests get a board that is held and reset; what is missing fails, and says what to do."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from fqtbench.bench.lock import probe_holder
from fqtbench.board import BoardInstance, load_models
from fqtbench.pytest_plugin import _MARKER
from fqtbench.testing.features import FEATURES, missing_features
from tests.bench.conftest import bench_file

_ROOT: Final = Path(__file__).resolve().parents[2]
_WORKER: Final = str(Path(__file__).with_name("counting_worker.py"))
_DEADLINE_S: Final = 200
_TINY: Final = """
import pytest
LAYERS = [{"type": "max_pool", "size": 7}, {"type": "fully_connected", "units": 10, "activation": "linear"}]
TINY = {"network": {"layers": LAYERS}, "training": {"batch": 8}}
DATA = {"name": "fashion-mnist-12k", "test": 10}
"""
_HEAVY: Final = ("numpy", "pandas", "pydantic", "pyocd", "serial", "yaml", "fqtbench.testing")


def _pytest(folder: Path, tests: str, *options: str, **environment: str) -> tuple[int, str]:
    """Run pytest on the tests, with our plugin and xdist alone; returns its exit code and output."""
    (folder / "test_lab.py").write_text(textwrap.dedent(tests))
    (folder / "pytest.ini").touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "fqtbench.pytest_plugin", "-ra", "--tb=short", *options],
        cwd=folder,
        env=os.environ
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "200"}
        | environment,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _outcomes(said: str) -> dict[str, int]:
    return {
        kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", said.splitlines()[-1])
    }


def test_the_documents_example_runs_on_a_virtual_board(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (_ROOT / "docs/pytest.md").read_text(), re.DOTALL)
    code, said = _pytest(tmp_path, example, "--fqt-board", "virtual-nrf52840")
    assert (code, _outcomes(said)) == (0, {"passed": 3}), said


def test_who_asks_for_no_board_imports_nothing(tmp_path: Path) -> None:
    tests = f"""
        import sys
        def test_nothing():
            assert [name for name in {_HEAVY} if name in sys.modules] == []
        """
    code, said = _pytest(tmp_path, tests)
    assert (code, _outcomes(said)) == (0, {"passed": 1}), said


def test_a_board_is_held_for_the_session_and_reset_for_each_test(tmp_path: Path) -> None:
    """Also after a test whose board never answered: its worker is ended, the next test gets another."""
    probe = f"plugin:{tmp_path}"
    bench_file(tmp_path, probe=probe, serial="none")
    worker = (sys.executable, _WORKER)
    (tmp_path / "conftest.py").write_text(f"import fqtbench.testing.held as held\nheld.WORKER = {worker!r}\n")
    tests = (
        _TINY
        + """
def test_one(board):
    trained = board.train(dataset=DATA, steps=16, **TINY)
    assert trained.verified_steps == 16 and trained.cycles.step > 0
def test_two(board):
    board.train(dataset=DATA, steps=16, **TINY)
def test_silent(board):
    board.train(dataset=DATA | {"test": 13}, steps=16, deadline_s=2, **TINY)
def test_three(board):
    pass
"""
    )
    log = tmp_path / "log"
    code, said = _pytest(
        tmp_path, tests, "--fqt-board", "desk", LOG=str(log), PYTHONPATH=os.pathsep.join(sys.path)
    )
    assert (code, _outcomes(said)) == (1, {"failed": 1, "passed": 3}), said
    assert "not done within its deadline of 2 s" in said
    rows = [line.split() for line in log.read_text().splitlines()]
    assert [kind for kind, *_ in rows] == ["reset", "train", "reset", "train", "reset", "train", "reset"]
    assert all(pid == holder for _, pid, holder in rows)
    assert len({pid for _, pid, _ in rows[:-1]}) == 1
    assert rows[-1][1] != rows[0][1]
    assert probe_holder(probe) is None


def test_a_missing_board_fails_and_is_never_skipped(tmp_path: Path) -> None:
    """One that was not named, one that is unknown, one that is not attached; each of them with what to do."""
    bench_file(tmp_path, probe="no-such-probe", serial="/dev/no-such-port")
    tests = """
        def test_one(board):
            raise AssertionError("it has no board")
        def test_two(board):
            raise AssertionError("it has no board")
        """
    code, said = _pytest(tmp_path, tests, "--fqt-skip-missing")
    assert (code, _outcomes(said)) == (1, {"error": 2}), said
    assert "no board to test on: say --fqt-board NAME" in said
    options = ("--fqt-board", "virtual-nrf5284", "--fqt-board", "desk", "--fqt-skip-missing")
    code, said = _pytest(tmp_path, tests, *options)
    assert (code, _outcomes(said)) == (1, {"error": 4}), said
    assert "unknown board virtual-nrf5284; did you mean virtual-nrf52840?" in said
    assert re.search(r"on board desk: .*no-such-probe", said), said
    assert "Traceback" not in said


def test_a_missing_feature_fails_or_is_skipped_for_whoever_asks(tmp_path: Path) -> None:
    tests = """
        import pytest
        @pytest.mark.fqt_needs("cycles", "probe")
        def test_needs_a_chip(board):
            raise AssertionError("it has no chip")
        """
    code, said = _pytest(tmp_path, tests, "-o", "fqt_board=host")
    assert (code, _outcomes(said)) == (1, {"error": 1}), said
    assert "board host lacks what the test needs: cycles, probe; choose another board" in said
    code, said = _pytest(tmp_path, tests, "-o", "fqt_board=host", "--fqt-skip-missing")
    assert (code, _outcomes(said)) == (0, {"skipped": 1}), said
    assert "board host lacks what the test needs: cycles, probe" in said


def test_several_processes_of_xdist_are_refused(tmp_path: Path) -> None:
    tests = """
        import pytest
        @pytest.mark.parametrize("number", range(2))
        def test_where(board, number):
            pass
        """
    code, said = _pytest(tmp_path, tests, "-p", "xdist", "-n", "2", "--fqt-board", "host")
    assert (code, _outcomes(said)) == (1, {"error": 2}), said
    assert "board host: only one process can hold a board; run its tests without -n" in said


def test_what_a_test_asks_for_wrongly_is_said_with_the_key_and_the_file(tmp_path: Path) -> None:
    tests = (
        _TINY
        + """
from fqtbench.errors import ResultError, UsageError
def test_wrong(board):
    for expected, keys in [
        ("test_lab.py:1: unknown key trainin; did you mean training?", {"trainin": {}}),
        ("steps=12: not a multiple of the mini-batch, which has 8 samples", {"steps": 12}),
        ("run=2: suite test has runs 1 to 1", {"run": 2}),
    ]:
        with pytest.raises(UsageError) as caught:
            board.train(dataset="fashion-mnist-12k", **{**TINY, **keys})
        assert expected in str(caught.value)
@pytest.mark.fqt_needs("dps")
def test_misspelt(board):
    pass
"""
    )
    code, said = _pytest(tmp_path, tests, "--fqt-board", "host")
    assert (code, _outcomes(said)) == (1, {"passed": 1, "error": 1}), said
    assert "fqt_needs: unknown feature dps; did you mean dsp?" in said


def test_features_are_what_the_marker_and_the_document_list() -> None:
    listed = _MARKER.rpartition(": ")[2].split(", ")
    table = re.findall(
        r"^\| `(\w+)` \| (?:counts|has|is) ", (_ROOT / "docs/pytest.md").read_text(), re.MULTILINE
    )
    assert listed == table == list(FEATURES)
    models = load_models()
    lacking = {name: set(missing_features(_instance(name), models[name], FEATURES)) for name in models}
    assert lacking["host"] == set(FEATURES)
    assert lacking["rp2040"] == {"dsp", "profiler"}
    assert lacking["nrf52840"] == {"profiler"}


def _instance(model: str) -> BoardInstance:
    return BoardInstance(name="desk", model=model, probe="1", serial="/dev/ttyACM0")
