"""Promise: a lab's hosts train the weights that this computer would; whoever dies, each run is recorded once, by us.

The kills are rows of the matrix of faults (docs/reliability.md): FAULTS says what each test injects.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from fqtbench.bench.lock import ProbeLock, probe_holder
from fqtbench.board import BoardInstance, LabTable, load_models
from fqtbench.errors import LabError
from fqtbench.experiment import journal
from fqtbench.experiment.plan import Run
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite
from fqtbench.hosts.address import Address, security_of
from fqtbench.hosts.executor import LabExecutor
from fqtbench.hosts.lab import Lab
from tests.command import run_command
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards, order
from tests.hosts.lab import CLI, DEADLINE_S, ROOT, certificates, scheduler, service, standin_host

FAULTS: Final = {
    "test_a_host_that_is_killed_leaves_its_run_to_another": "Dask worker killed; another host has such a board",
    "test_a_host_that_is_killed_does_its_run_when_it_is_back": "Dask worker killed, and started again",
    "test_when_the_scheduler_is_killed_resume_goes_on": "Dask scheduler killed, and started again",
    "test_when_the_orchestrator_is_killed_its_runs_end_on_the_hosts": "orchestrator of a lab killed",
}
"""Test → the fault it injects; the outcome of each is: every run recorded once."""
SEEDS: Final = [1, 2, 3]


class Watcher(Printer):
    """An observer that does something when a run is first attached to a board, and keeps the events."""

    def __init__(self, act: Callable[[str], None] = lambda board: None) -> None:
        self._act, self._acted = act, False
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        self.events.append((board, event))
        if event["event"] == "attached" and not self._acted and self._wants(board):
            self._acted = True
            self._act(board)

    def _wants(self, board: str) -> bool:
        return board == "stand-in-0"

    def reasons(self) -> list[str]:
        return [event["reason"] for _, event in self.events if event["event"] == "retry"]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return suites.write(tmp_path, suites.tiny(boards=["stand-in-0"], sweep={"seed": SEEDS}))


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    path = tmp_path / "hold"
    os.mkfifo(path)
    return path


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with scheduler() as (_, found):
        yield found


def _lab(address: str, options: list[str]) -> Lab:
    parsed = Address.parse(address)
    ca, cert, key = (Path(path) for path in options[1::2])
    return Lab(parsed, security_of(parsed, LabTable(ca=ca, cert=cert, key=key)))


def _run(suite: Path, folder: Path, address: str, watcher: Watcher, n_boards: int, **options: Any) -> int:
    with Lab(Address.parse(address), None) as lab:
        here = [BoardInstance(name=b.name, model=b.model) for b in boards(n_boards)]
        executor_of = partial(LabExecutor, lab=lab, **options)
        wanted = Order(load_suite(suite), here, load_models(), folder, resume=True, executor_of=executor_of)
        return run_suite(wanted, watcher)


def _assert_each_run_once(folder: Path) -> None:
    ids = [entry["run_id"] for entry in journal.read(folder / "journal").entries[1:]]
    assert len(ids) == len(set(ids)) == len(SEEDS)


def _boards_used(folder: Path) -> list[str]:
    return [run.description["board"]["name"] for run in load_results(folder).runs]


def _weights(folder: Path) -> dict[int, list[int]]:
    """Return the checksum of the trained state after each epoch, by seed."""
    found = {}
    for run in load_results(folder).runs:
        (attempt,) = (folder / "runs" / run.description["run_id"]).iterdir()
        found[run.description["identity"]["seed"]] = pd.read_parquet(
            attempt / "epochs.parquet"
        ).checksum.to_list()
    return found


def _assert_free(board: BoardInstance) -> None:
    """Whoever held it lets go within the deadline."""
    assert board.probe is not None
    with ProbeLock(board.probe, board.name, patience_s=DEADLINE_S):
        pass


def test_virtual_boards_of_two_hosts_train_the_weights_of_a_local_run(tmp_path: Path) -> None:
    """By the command line, over TLS; a certificate of another authority opens nothing."""
    suite = suites.write(tmp_path, suites.tiny(boards=["a-board", "b-board"], sweep={"seed": [1, 2]}))
    tls = certificates(tmp_path, "hub", "host-a", "host-b", "desk")
    with ExitStack() as stack:
        _, address = stack.enter_context(scheduler(*tls["hub"]))
        assert address.startswith("tls://")
        for name in ("a", "b"):
            bench = tmp_path / f"{name}.toml"
            launch = [sys.executable, "-m", "fqtbench.virtual", "nrf52840"]
            bench.write_text(f'[[board]]\nname = "{name}-board"\nmodel = "nrf52840"\nlaunch = {launch}\n')
            where = ("--scheduler", address, "--name", f"host-{name}", "--bench", str(bench))
            host = stack.enter_context(service(*CLI, "lab", "worker", *where, *tls[f"host-{name}"]))
            host.await_line("offers ")
        done = run_command(
            "run",
            str(suite),
            "--scheduler",
            address,
            *tls["desk"],
            "--out",
            "lab",
            cwd=tmp_path,
            deadline_s=240,
        )
        assert done.returncode == 0, done.stderr
        (tmp_path / "theirs").mkdir()
        theirs = certificates(tmp_path / "theirs", "x")["x"]
        with pytest.raises(LabError, match=f"no scheduler answers at {address}"), _lab(address, theirs):
            pass
    run_suite(order(suite, tmp_path / "local"), Printer(), WORKER)
    assert _weights(tmp_path / "lab") == _weights(tmp_path / "local")
    assert sorted(_boards_used(tmp_path / "lab")) == ["a-board", "b-board"]
    hosts = [run.description["board"]["lab_host"]["name"] for run in load_results(tmp_path / "lab").runs]
    assert sorted(hosts) == ["host-a", "host-b"]


def test_a_host_that_is_killed_leaves_its_run_to_another(
    tmp_path: Path, suite: Path, hold: Path, address: str
) -> None:
    with (
        standin_host(address, 0, name="host-a", HOLD=str(hold)) as doomed,
        standin_host(address, 1, name="host-b"),
    ):
        watcher = Watcher(lambda _: doomed.kill())
        assert _run(suite, tmp_path / "out", address, watcher, 2) == len(SEEDS)
    assert len(watcher.reasons()) == 1
    assert "on board stand-in-0: its host was lost" in watcher.reasons()[0]
    assert _boards_used(tmp_path / "out") == ["stand-in-1"] * len(SEEDS)
    _assert_each_run_once(tmp_path / "out")
    _assert_free(boards()[0])


def test_a_host_that_is_killed_does_its_run_when_it_is_back(
    tmp_path: Path, suite: Path, hold: Path, address: str
) -> None:
    with ExitStack() as stack, standin_host(address, 0, name="host-a", HOLD=str(hold)) as doomed:

        def replace(_: str) -> None:
            doomed.kill()
            stack.enter_context(standin_host(address, 0, name="host-a"))

        watcher = Watcher(replace)
        assert _run(suite, tmp_path / "out", address, watcher, 1) == len(SEEDS)
    assert len(watcher.reasons()) == 1
    _assert_each_run_once(tmp_path / "out")


def test_a_host_that_does_not_come_back_is_given_up(
    tmp_path: Path, suite: Path, hold: Path, address: str
) -> None:
    with (
        standin_host(address, 0, name="host-a", HOLD=str(hold)) as doomed,
        pytest.raises(LabError, match=r"board stand-in-0: its host was not back within 0\.5 s; start"),
    ):
        _run(suite, tmp_path / "out", address, Watcher(lambda _: doomed.kill()), 1, back_within_s=0.5)


def test_when_the_scheduler_is_killed_resume_goes_on(tmp_path: Path, suite: Path, hold: Path) -> None:
    """The host ends its board's run by itself, and finds the new scheduler by itself."""
    with ExitStack() as stack:
        doomed, address = stack.enter_context(scheduler())
        host = stack.enter_context(standin_host(address, 0, name="host-a", HOLD=str(hold)))
        with pytest.raises(
            LabError, match=f"the scheduler {address} is gone, and with it the runs in flight"
        ):
            _run(suite, tmp_path / "out", address, Watcher(lambda _: doomed.kill()), 1)
        host.await_line("is gone")
        _assert_free(boards()[0])
        port = Address.parse(address).port
        stack.enter_context(scheduler(port=port))
        host.await_line("offers ")
        hold.unlink()
        hold.touch()
        assert _run(suite, tmp_path / "out", address, Watcher(), 1) == len(SEEDS)
    _assert_each_run_once(tmp_path / "out")


def test_when_the_orchestrator_is_killed_its_runs_end_on_the_hosts(
    tmp_path: Path, suite: Path, hold: Path, address: str
) -> None:
    board = boards()[0]
    assert board.probe is not None
    with standin_host(address, 0, name="host-a", HOLD=str(hold)):
        command = [
            sys.executable,
            *CLI,
            "run",
            str(suite),
            "--scheduler",
            address,
            "--out",
            str(tmp_path / "out"),
        ]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("started" in line for line in process.stderr)
            assert probe_holder(board.probe) is not None
            process.kill()
        _assert_free(board)
        hold.unlink()
        hold.touch()
        assert _run(suite, tmp_path / "out", address, Watcher(), 1) == len(SEEDS)
    _assert_each_run_once(tmp_path / "out")


def test_another_fqtbench_is_refused_before_any_job(tmp_path: Path, suite: Path, address: str) -> None:
    watcher = Watcher()
    told = r"host host-a runs another fqtbench: here fqtbench \S+; there fqtbench 9\.9; install the same"
    with standin_host(address, 0, name="host-a", OTHER_VERSION="9.9"), pytest.raises(LabError, match=told):
        _run(suite, tmp_path / "out", address, watcher, 1)
    assert watcher.events == []


def test_a_board_that_no_host_offers_is_not_waited_for(tmp_path: Path, suite: Path, address: str) -> None:
    with pytest.raises(LabError, match="no host of the lab offers board stand-in-0"):
        _run(suite, tmp_path / "out", address, Watcher(), 1)
