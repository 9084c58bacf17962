"""Kills of a lab's hosts, scheduler and orchestrator that `make soak` injects (benchmarks/reliability.py).

The name keeps pytest from collecting this module unasked; given as an argument it is run.
"""

import subprocess
import sys
from contextlib import ExitStack

import pytest

from fqtbench.bench.lock import probe_holder
from fqtbench.errors import LabError
from fqtbench.hosts.address import Address
from tests.experiment.standin_run import boards
from tests.hosts.bench import ONCE, SEEDS, Trial, Watcher, assert_free
from tests.hosts.lab import CLI, ROOT, scheduler, standin_host
from tests.reliability.matrix import Outcome, injects


@injects(
    "a Dask worker is killed, and started again",
    "SIGKILL of the host's process when its board has begun a run; boards are stand-ins",
    f"{ONCE}, on the same board",
)
def test_a_host_that_is_killed_does_its_run_when_it_is_back(
    trial: Trial, address: str, outcome: Outcome
) -> None:
    with ExitStack() as stack, standin_host(address, 0, name="host-a", HOLD=str(trial.hold)) as doomed:

        def replace(_: str) -> None:
            doomed.kill()
            stack.enter_context(standin_host(address, 0, name="host-a"))

        watcher = Watcher(replace)
        assert trial.run(address, watcher) == len(SEEDS)
    assert len(watcher.reasons()) == 1
    trial.assert_whole()
    outcome.is_(
        "survived by itself: its host did the run when it was back", attempts=2, told=watcher.reasons()[0]
    )


@injects(
    "the Dask scheduler is killed, and started again",
    "SIGKILL of the scheduler's process when a board has begun a run; boards are stand-ins",
    f"one line says so, the host frees its board and finds the new scheduler; with --resume {ONCE}",
)
def test_when_the_scheduler_is_killed_resume_goes_on(trial: Trial, outcome: Outcome) -> None:
    """The host ends its board's run by itself, and finds the new scheduler by itself."""
    with ExitStack() as stack:
        doomed, address = stack.enter_context(scheduler())
        host = stack.enter_context(standin_host(address, 0, name="host-a", HOLD=str(trial.hold)))
        told = f"the scheduler {address} is gone, and with it the runs in flight"
        with pytest.raises(LabError, match=told) as caught:
            trial.run(address, Watcher(lambda _: doomed.kill()))
        host.await_line("is gone")
        assert_free(boards()[0])
        port = Address.parse(address).port
        stack.enter_context(scheduler(port=port))
        host.await_line("offers ")
        trial.let_go()
        assert trial.run(address, Watcher()) == len(SEEDS)
    trial.assert_whole()
    outcome.is_("refused with one line, then survived by --resume", told=str(caught.value))


@injects(
    "the orchestrator of a lab is killed while a host's board is at work",
    "SIGKILL of `fqtbench run --scheduler`; boards are stand-ins",
    f"the host frees its board; with --resume {ONCE}",
)
def test_when_the_orchestrator_is_killed_its_runs_end_on_the_hosts(
    trial: Trial, address: str, outcome: Outcome
) -> None:
    board = boards()[0]
    assert board.probe is not None
    with standin_host(address, 0, name="host-a", HOLD=str(trial.hold)):
        command = [
            sys.executable,
            *CLI,
            "run",
            str(trial.suite),
            "--scheduler",
            address,
            "--out",
            str(trial.out),
        ]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("started" in line for line in process.stderr)
            assert probe_holder(board.probe) is not None
            process.kill()
        assert_free(board)
        trial.let_go()
        assert trial.run(address, Watcher()) == len(SEEDS)
    trial.assert_whole()
    outcome.is_("the board was freed, then survived by --resume")
