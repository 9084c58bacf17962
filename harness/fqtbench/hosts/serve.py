"""The two services of a lab: its scheduler, and on each host the worker in charge of the boards there."""

import asyncio
import logging
import tempfile
from collections.abc import Callable
from typing import Any, Final

import dask
import distributed
from distributed import Scheduler, Security, Worker

from fqtbench.errors import LabError
from fqtbench.hosts.address import LOOPBACK, Address
from fqtbench.hosts.host import Host
from fqtbench.hosts.kit import own_kit
from fqtbench.hosts.messages import CARD

_SILENT_HOST_S: Final = 60  # without a heartbeat: then its jobs are lost
_LOGGED_EVENTS: Final = 100  # that the scheduler remembers, weights among them
_AGAIN_S: Final = 1.0
_NO_PAGES: Final = f"{LOOPBACK}:0"  # Dask always serves HTTP; without routes, and to nobody else
CONFIGURATION: Final = {
    "distributed.scheduler.allowed-failures": 0,  # a job whose host died must not run again unseen
    "distributed.scheduler.worker-ttl": f"{_SILENT_HOST_S} s",
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.low-level-log-length": _LOGGED_EVENTS,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.daemon": False,
}


def serve_scheduler(address: Address, security: Security | None, say: Callable[[str], None]) -> None:
    """Serve a lab's scheduler until Ctrl-C; LabError if the address is taken."""
    _configure()
    try:
        asyncio.run(_scheduler(address, security, say))
    except OSError as error:
        raise LabError(
            f"scheduler {address}: can't listen there: {error.strerror or error}; choose another --port"
        ) from error


def serve_host(address: Address, security: Security | None, host: Host, say: Callable[[str], None]) -> None:
    """Offer a host's boards to the scheduler until Ctrl-C, also when it is not there yet, or comes anew."""
    _configure()
    asyncio.run(_host(address, security, host, say))


def _configure() -> None:
    dask.config.set(CONFIGURATION)
    logging.getLogger("distributed").setLevel(logging.ERROR)


async def _scheduler(address: Address, security: Security | None, say: Callable[[str], None]) -> None:
    async with Scheduler(
        host=address.host,
        port=address.port,
        protocol=address.scheme,
        security=security,
        dashboard=False,
        dashboard_address=_NO_PAGES,
    ) as scheduler:
        scheduler.set_metadata([CARD], own_kit().model_dump_json())
        say(f"scheduler at {scheduler.address}; Ctrl-C ends it")
        await scheduler.finished()


async def _host(address: Address, security: Security | None, host: Host, say: Callable[[str], None]) -> None:
    names = ", ".join(board.name for board in host.card.boards)
    while True:
        say(f"host {host.card.host}: looking for the scheduler {address}")
        with tempfile.TemporaryDirectory(prefix="fqtbench-host-") as folder:
            try:
                async with _worker(address, security, host, folder) as worker:
                    say(f"host {host.card.host}: offers {names} to the scheduler {address}")
                    await worker.finished()
            except ValueError as error:  # what Dask raises when the scheduler refuses a worker
                raise LabError(
                    f"host {host.card.host}: the scheduler {address} refuses it: {error}; is another host called so?"
                ) from error
        say(f"host {host.card.host}: the scheduler {address} is gone; its boards' runs were ended")
        await asyncio.sleep(_AGAIN_S)


def _worker(address: Address, security: Security | None, host: Host, folder: str) -> Worker:
    return distributed.Worker(
        str(address),
        name=host.card.host,
        nthreads=max(len(host.card.boards), 1),
        resources=host.resources,
        security=security,
        protocol=address.scheme,
        host=address.host if address.is_loopback else None,
        local_directory=folder,
        memory_limit=0,
        dashboard=False,
        dashboard_address=_NO_PAGES,
        plugins=(host,),
        startup_information=_startup(host),
    )


def _startup(host: Host) -> dict[str, Callable[[Any], str]]:
    return {CARD: lambda _: host.card.model_dump_json()}
