"""Promise: a lab's hosts train the weights that this computer would; whoever dies, each run is recorded once, by us.

Kills that take longer are in slow_faults.py; all are rows of the matrix of faults (docs/reliability.md).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fqtbench.board import LabTable
from fqtbench.errors import LabError
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import run_suite
from fqtbench.hosts.address import Address, security_of
from fqtbench.hosts.lab import Lab
from tests.command import run_command
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards, order
from tests.hosts.bench import ONCE, SEEDS, Trial, Watcher, assert_free, boards_used, weights
from tests.hosts.lab import CLI, certificates, scheduler, service, standin_host
from tests.reliability.matrix import Outcome, injects


def _lab(address: str, options: list[str]) -> Lab:
    parsed = Address.parse(address)
    ca, cert, key = (Path(path) for path in options[1::2])
    return Lab(parsed, security_of(parsed, LabTable(ca=ca, cert=cert, key=key)))


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
            "--no-report",
            cwd=tmp_path,
            deadline_s=240,
        )
        assert done.returncode == 0, done.stderr
        (tmp_path / "theirs").mkdir()
        theirs = certificates(tmp_path / "theirs", "x")["x"]
        with pytest.raises(LabError, match=f"no scheduler answers at {address}"), _lab(address, theirs):
            pass
    run_suite(order(suite, tmp_path / "local"), Printer(), WORKER)
    assert weights(tmp_path / "lab") == weights(tmp_path / "local")
    assert sorted(boards_used(tmp_path / "lab")) == ["a-board", "b-board"]
    hosts = [run.description["board"]["lab_host"]["name"] for run in load_results(tmp_path / "lab").runs]
    assert sorted(hosts) == ["host-a", "host-b"]


@injects(
    "a Dask worker is killed; another host has such a board",
    "SIGKILL of the host's process when its board has begun a run; boards are stand-ins",
    f"{ONCE}, the run in flight on the other host's board",
)
def test_a_host_that_is_killed_leaves_its_run_to_another(
    trial: Trial, address: str, outcome: Outcome
) -> None:
    with (
        standin_host(address, 0, name="host-a", HOLD=str(trial.hold)) as doomed,
        standin_host(address, 1, name="host-b"),
    ):
        watcher = Watcher(lambda _: doomed.kill())
        assert trial.run(address, watcher, 2) == len(SEEDS)
    assert len(watcher.reasons()) == 1
    assert "on board stand-in-0: its host was lost" in watcher.reasons()[0]
    assert boards_used(trial.out) == ["stand-in-1"] * len(SEEDS)
    trial.assert_whole()
    assert_free(boards()[0])
    outcome.is_("survived by itself: another host did the run", attempts=2, told=watcher.reasons()[0])


def test_a_host_that_does_not_come_back_is_given_up(trial: Trial, address: str) -> None:
    with (
        standin_host(address, 0, name="host-a", HOLD=str(trial.hold)) as doomed,
        pytest.raises(LabError, match=r"board stand-in-0: its host was not back within 0\.5 s; start"),
    ):
        trial.run(address, Watcher(lambda _: doomed.kill()), back_within_s=0.5)


def test_another_fqtbench_is_refused_before_any_job(trial: Trial, address: str) -> None:
    watcher = Watcher()
    told = r"host host-a runs another fqtbench: here fqtbench \S+; there fqtbench 9\.9; install the same"
    with standin_host(address, 0, name="host-a", OTHER_VERSION="9.9"), pytest.raises(LabError, match=told):
        trial.run(address, watcher)
    assert watcher.events == []


def test_a_board_that_no_host_offers_is_not_waited_for(trial: Trial, address: str) -> None:
    with pytest.raises(LabError, match="no host of the lab offers board stand-in-0"):
        trial.run(address, Watcher())
