"""A lab on this computer: a scheduler and hosts as processes of their own, as they would be on many."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DEADLINE_S: Final = 60
CLI: Final = ("-m", "fqtbench.cli")
STAND_IN: Final = ("-m", "tests.hosts.standin_host")


class Service:
    """A process that says on standard error how it gets on."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def await_line(self, beginning: str) -> str:
        """Return the first line from now on that has `beginning` in it, without what comes before."""
        assert self._process.stderr is not None
        watchdog = threading.Timer(DEADLINE_S, self._process.kill)
        watchdog.start()
        said = []
        for line in self._process.stderr:
            said.append(line)
            if beginning in line:
                watchdog.cancel()
                return line[line.index(beginning) + len(beginning) :].strip()
        raise AssertionError(f"{self._process.args} ended without {beginning!r}; it said {said}")

    def kill(self) -> None:
        """SIGKILL, and see it gone."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def end(self) -> None:
        """Ctrl-C, and if that isn't enough, SIGKILL."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            assert self._process.stderr is not None
            self._process.stderr.close()


@contextmanager
def service(*arguments: str, **environment: str) -> Iterator[Service]:
    """A service that is ended with the context."""
    process = Service(*arguments, **environment)
    try:
        yield process
    finally:
        process.end()


@contextmanager
def scheduler(*options: str, port: int = 0) -> Iterator[tuple[Service, str]]:
    """A scheduler; yields it and its address."""
    with service(*CLI, "lab", "scheduler", "--port", str(port), *options) as process:
        yield process, process.await_line("scheduler at ").partition(";")[0]


@contextmanager
def standin_host(address: str, *boards: int, name: str, **environment: str) -> Iterator[Service]:
    """A host whose boards are stand-ins, by their numbers; it has registered with the scheduler."""
    numbers = [str(number) for number in boards]
    with service(*STAND_IN, address, name, *numbers, **environment) as process:
        process.await_line("offers ")
        yield process


def certificates(folder: Path, *names: str) -> dict[str, list[str]]:
    """Make an authority and a certificate signed by it for each name; returns the options that use them."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    _openssl("req", "-x509", *_NEW_KEY, "-keyout", ca_key, "-out", ca, "-days", "1", "-subj", "/CN=lab")
    options = {}
    for name in names:
        request, cert, key = (folder / f"{name}.{kind}" for kind in ("csr", "pem", "key"))
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signed_by = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signed_by, "-out", cert, "-days", "1")
        options[name] = ["--tls-ca", str(ca), "--tls-cert", str(cert), "--tls-key", str(key)]
    return options


_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
