"""The commands `lab scheduler` and `lab worker`, and `run --scheduler`: boards on many hosts."""

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fqtbench.board import (
    BoardInstance,
    BoardModel,
    LabTable,
    described_instances,
    find_instance,
    load_instances,
    load_lab,
    load_models,
)
from fqtbench.cli_options import BenchOption, errors, interruptible
from fqtbench.errors import UsageError
from fqtbench.experiment.executor import ExecutorOf
from fqtbench.hosts.address import DEFAULT_PORT, LOOPBACK, Address, security_of

if TYPE_CHECKING:
    from distributed import Security

SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Run on the hosts of the lab whose scheduler is here: tcp:// or tls://HOST:PORT."
    ),
]
TlsCaOption = Annotated[
    Path | None, typer.Option("--tls-ca", help="The lab's authority, PEM [default: bench.toml]")
]
TlsCertOption = Annotated[Path | None, typer.Option("--tls-cert", help="This host's certificate, PEM.")]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")]
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")

lab_commands = typer.Typer(
    no_args_is_help=True, help="The services of a lab with boards on many hosts (extra `lab`)."
)


@dataclass(frozen=True)
class Source:
    """Where boards come from: their instances by name, and who does runs on them (None: this computer)."""

    instances: dict[str, BoardInstance]
    executor_of: ExecutorOf | None = None


@contextmanager
def bench_or_lab(
    models: dict[str, BoardModel], bench: Path | None, scheduler: str | None, tls: LabTable
) -> Iterator[Source]:
    """Yield the boards of this computer, or while it is connected those of a lab."""
    if scheduler is None:
        yield Source(load_instances(models, bench))
        return
    address, security = _connection(scheduler, tls)
    from fqtbench.hosts.executor import LabExecutor  # noqa: PLC0415  (an extra, and slow to import)
    from fqtbench.hosts.lab import Lab  # noqa: PLC0415

    with Lab(address, security) as lab:
        yield Source(lab.instances(models), partial(LabExecutor, lab=lab))


def tls_files(bench: Path | None, ca: Path | None, cert: Path | None, key: Path | None) -> LabTable:
    """Return the files of the options, and of the bench file's [lab] where these are left out."""
    table = load_lab(bench)
    return LabTable(ca=ca or table.ca, cert=cert or table.cert, key=key or table.key)


@lab_commands.command("scheduler")
def lab_scheduler(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; other than loopback only with TLS.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = DEFAULT_PORT,
    tls: Annotated[
        bool, typer.Option("--tls", help="Use TLS, also on loopback; with all three files it is used anyway.")
    ] = False,
    bench: BenchOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Serve the scheduler of a lab until Ctrl-C; it knows the hosts and runs nothing itself."""
    files = tls_files(bench, tls_ca, tls_cert, tls_key)
    secured = tls or None not in (files.ca, files.cert, files.key)
    address, security = _connection(str(Address("tls" if secured else "tcp", host, port)), files)
    from fqtbench.hosts.serve import serve_scheduler  # noqa: PLC0415  (an extra)

    with interruptible("scheduler ended"):
        serve_scheduler(address, security, _say)


@lab_commands.command("worker")
def lab_worker(
    scheduler: Annotated[
        str, typer.Option("--scheduler", help="The lab's scheduler: tcp:// or tls://HOST:PORT.")
    ] = f"tcp://{LOOPBACK}:{DEFAULT_PORT}",
    name: Annotated[
        str | None, typer.Option("--name", help="What the lab calls this host [default: its host name]")
    ] = None,
    board: Annotated[
        list[str] | None,
        typer.Option("--board", help="Offer this board only; repeatable [default: those of the bench file]"),
    ] = None,
    bench: BenchOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Offer this host's boards to a lab until Ctrl-C."""
    address, security = _connection(scheduler, tls_files(bench, tls_ca, tls_cert, tls_key))
    boards = _offered(board, bench)
    from fqtbench.hosts.host import Host  # noqa: PLC0415  (an extra)
    from fqtbench.hosts.serve import serve_host  # noqa: PLC0415

    host = Host(_NOT_IN_A_NAME.sub("-", name or platform.node() or "host")[:64], boards)
    with interruptible("ended; the runs on this host's boards are called off"):
        serve_host(address, security, host, _say)


def _offered(names: list[str] | None, bench: Path | None) -> list[BoardInstance]:
    models = load_models()
    instances = load_instances(models, bench)
    if names:
        return [find_instance(name, instances) for name in dict.fromkeys(names)]
    described = list(described_instances(models, instances).values())
    if not described:
        raise UsageError(
            "no bench file describes a board of this host; write one (`fqtbench boards --suggest`), "
            "or name a board by --board"
        )
    return described


def _connection(scheduler: str, tls: LabTable) -> "tuple[Address, Security | None]":
    if find_spec("distributed") is None:
        raise UsageError("a lab of many hosts needs the package distributed: pip install 'fqtbench[lab]'")
    address = Address.parse(scheduler)
    return address, security_of(address, tls)


def _say(text: str) -> None:
    errors.print(text, markup=False)
