"""Promise: each of these faults, injected into a suite on a virtual board, loses nothing and leaves nothing behind.

The faults that take longer are in slow_faults.py, which `make soak` runs as well (docs/reliability.md).
"""

import resource
from typing import Any

import pytest

from fqtbench.errors import ResultError
from tests.reliability.bench import ONCE, Bench
from tests.reliability.matrix import Outcome, injects
from tests.reliability.relays import Served
from tests.reliability.trouble import Trouble


@injects(
    "the UART is cut for 1 s while samples stream, and restored",
    "relay on the serial line, both ways, after 10 kB towards the board: the bytes are lost",
    f"{ONCE}; what was lost is sent again",
)
def test_uart_cut_and_restored(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome
) -> None:
    bench.run_behind(served, Trouble(serial_from=10_000, serial_s=1), undisturbed)
    assert bench.n_perturbed() == 1
    outcome.is_("survived: frames were sent again, the run is marked perturbed", attempts=1 + bench.retries)


@injects(
    "the probe is lost while the flash is programmed",
    "relay on the probe's TCP port: the connection breaks after 120 kB towards the board, once",
    f"{ONCE}; the half-programmed flash is programmed again",
)
def test_probe_lost_in_mid_flash(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome
) -> None:
    board = bench.behind(served)
    served.erase()
    with served.having(Trouble(probe_lost_at=120_000, struck=bench.struck)):
        bench.run_through(board, undisturbed, outcome)


@injects(
    "the results folder's disk is full when a run is recorded",
    "the orchestrator may write no file longer than 512 bytes (RLIMIT_FSIZE) from its second run on",
    "one line says which file could not be written; the first run stays, --resume does the second",
)
def test_disk_full(bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome) -> None:
    board = bench.behind(served)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(label: str, event: dict[str, Any]) -> None:
        if label == "seed=2" and event["event"] == "epoch":
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))

    try:
        with pytest.raises(ResultError) as caught:
            bench.run(board, hook=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "can't write" in str(caught.value)
    assert "go on by --resume" in str(caught.value)
    assert bench.run(board, resume=True) == 1
    bench.assert_whole(undisturbed, board)
    outcome.is_("refused with one line, then survived by --resume", told=str(caught.value))
