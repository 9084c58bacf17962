"""What is tried when a board fails: per class of failure how often, and which rung of the ladder comes before.

Pure decisions; who takes the rungs is the pool, and a worker. The table of docs/bench.md says the same in words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from fqtbench.board import BoardInstance, BoardModel
from fqtbench.errors import (
    BusyError,
    DeadlineError,
    DeviceError,
    FlashError,
    FqtbenchError,
    LaunchError,
    LinkError,
    LockedError,
    MonitorError,
    ProbeError,
    WorkerError,
    WrongDeviceError,
)
from fqtbench.power import switches_supply


class Rung(IntEnum):
    """A way to bring a board back, the gentlest first.

    Each is taken on a fresh worker, which opens line and instruments anew and launches a launched board anew.
    """

    FRESH_WORKER = 0
    RESET = 1
    CONNECT_UNDER_RESET = 2
    POWER_CYCLE = 3
    RECOVER = 4

    def __str__(self) -> str:
        return _WORDS[self]


_WORDS: Final = {
    Rung.FRESH_WORKER: "fresh worker",
    Rung.RESET: "reset",
    Rung.CONNECT_UNDER_RESET: "connect under reset",
    Rung.POWER_CYCLE: "power cycle",
    Rung.RECOVER: "recover",
}


@dataclass(frozen=True)
class Policy:
    """How often a board may try a task in all, and the rungs of which one precedes each further attempt."""

    attempts: int
    rungs: tuple[Rung, ...] = ()


GIVE_UP: Final = Policy(1)
_TO_POWER: Final = (Rung.RESET, Rung.CONNECT_UNDER_RESET, Rung.POWER_CYCLE)

# The class itself counts, or else the nearest one that it is derived from.
POLICIES: Final[Mapping[type[FqtbenchError], Policy]] = MappingProxyType(
    {
        ProbeError: Policy(5, (*_TO_POWER, Rung.RECOVER)),
        FlashError: Policy(5, (*_TO_POWER, Rung.RECOVER)),
        LockedError: Policy(2, (Rung.RECOVER,)),
        BusyError: GIVE_UP,
        # What is in flash was read back before the line was used: erasing it would mend nothing.
        LinkError: Policy(4, _TO_POWER),
        DeviceError: Policy(3, (Rung.RESET, Rung.POWER_CYCLE)),
        WrongDeviceError: GIVE_UP,
        MonitorError: Policy(3, (Rung.FRESH_WORKER, Rung.RESET)),
        LaunchError: Policy(2, (Rung.FRESH_WORKER,)),
        WorkerError: Policy(4, (Rung.FRESH_WORKER, Rung.RESET, Rung.POWER_CYCLE)),
        # Each attempt may take the whole deadline, and it may just be too short.
        DeadlineError: Policy(2, (Rung.CONNECT_UNDER_RESET, Rung.POWER_CYCLE)),
    }
)


def policy_of(error: FqtbenchError) -> Policy:
    """Return what is done about a failure; a class without a policy would only fail again."""
    return next((POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES), GIVE_UP)


def rungs_of(board: BoardInstance, model: BoardModel, consent: bool) -> frozenset[Rung]:
    """Return the rungs that a board has; `consent`: whether somebody allowed to erase its chip."""
    rungs = {Rung.FRESH_WORKER}
    if model.link != "library":
        rungs |= {Rung.RESET, Rung.CONNECT_UNDER_RESET}
        if board.power_cycle is not None or switches_supply(board.power):
            rungs.add(Rung.POWER_CYCLE)
        if consent:
            rungs.add(Rung.RECOVER)
    return frozenset(rungs)


@dataclass
class Climb:
    """How far one board, which has `rungs`, was brought up the ladder for one task; it never goes down again."""

    rungs: frozenset[Rung]
    failures: int = 0
    _ahead: list[Rung] = field(default_factory=list)
    _highest: int = -1

    def after(self, error: FqtbenchError) -> Rung | None:
        """Count a failed attempt; returns the rung to take before the next one, None if there is no next one."""
        self.failures += 1
        policy = policy_of(error)
        self._ahead = [rung for rung in policy.rungs if rung in self.rungs and rung > self._highest]
        return None if self.failures >= policy.attempts else self.after_failed_rung()

    def after_failed_rung(self) -> Rung | None:
        """Return the next rung, None if the one that failed was the last."""
        rung = self._ahead.pop(0) if self._ahead else None
        if rung is not None:
            self._highest = rung
        return rung
