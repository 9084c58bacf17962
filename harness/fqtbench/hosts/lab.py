"""A lab seen from the orchestrator: a connection to its scheduler, and which boards its hosts offer."""

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import dask
from distributed import Client, Security

from fqtbench.board import BoardInstance, BoardModel
from fqtbench.errors import LabError
from fqtbench.hosts.address import Address
from fqtbench.hosts.kit import Kit, own_kit
from fqtbench.hosts.messages import CARD, Card, OfferedBoard, parse

_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 1.0


@dataclass(frozen=True)
class Place:
    """A board and the host that offers it."""

    board: OfferedBoard
    host: str
    kit: Kit


class Lab:
    """A connection to the scheduler while the context lasts; the scheduler then forgets our jobs, and hosts end them.

    Raises LabError if nobody answers, or a scheduler of another fqtbench or none of ours.
    """

    client: Client

    def __init__(self, address: Address, security: Security | None) -> None:
        self.address = address
        self._security = security

    def __enter__(self) -> Self:
        dask.config.set({"distributed.comm.retry.count": 0})
        try:
            self.client = Client(
                str(self.address),
                security=self._security,
                timeout=_CONNECT_S,
                set_as_default=False,
                name="fqtbench",
            )
        except (OSError, ValueError) as error:
            raise LabError(
                f"no scheduler answers at {self.address}: {error}; start it there by `fqtbench lab scheduler`, "
                "and see that both sides' certificates are of one authority"
            ) from error
        try:
            self._check_scheduler()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._close()

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler was there a moment ago."""
        return bool(self.client.status == "running")

    def lost(self) -> LabError:
        """Return the error that says that it isn't."""
        return LabError(
            f"the scheduler {self.address} is gone, and with it the runs in flight; "
            "start `fqtbench lab scheduler` there again"
        )

    def places(self) -> dict[str, Place]:
        """Return the boards that are offered now, by name; LabError if two hosts offer one name."""
        try:
            workers = self.client.scheduler_info()["workers"].values()
        except OSError as error:
            raise self.lost() from error
        cards = [
            parse(Card, worker[CARD], f"host {worker.get('name')}") for worker in workers if CARD in worker
        ]
        found: dict[str, Place] = {}
        for card in cards:
            for board in card.boards:
                if board.name in found:
                    raise LabError(
                        f"two boards of the lab are called {board.name}, on hosts {found[board.name].host} and "
                        f"{card.host}; give each a name of its own in its bench file, and start it again"
                    )
                found[board.name] = Place(board, card.host, card.kit)
        return found

    def instances(self, models: dict[str, BoardModel]) -> dict[str, BoardInstance]:
        """Return the boards that are offered, as instances without addresses, which only their hosts know."""
        return {
            name: BoardInstance(name=name, model=place.board.model)
            for name, place in self.places().items()
            if place.board.model in models
        }

    def _check_scheduler(self) -> None:
        said = self.client.get_metadata([CARD], default=None)
        if said is None:
            raise LabError(
                f"the scheduler {self.address} was not started by `fqtbench lab scheduler`: it would run a lost job "
                "again unseen; start that one instead"
            )
        check_kit(parse(Kit, said, f"the scheduler {self.address}"), f"the scheduler {self.address}")

    def _close(self) -> None:
        self.client.close(timeout=_CLOSE_S)


def check_kit(kit: Kit, whose: str) -> None:
    """LabError if somebody else's fqtbench is not this one."""
    difference = own_kit().difference(kit)
    if difference:
        raise LabError(f"{whose} runs another fqtbench: {difference}; install the same on both")
