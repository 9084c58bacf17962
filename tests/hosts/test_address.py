"""Promise: nothing of a lab is open to a network without mutual TLS; what is missing is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fqtbench import cli_hosts
from fqtbench.board import LabTable, load_lab
from fqtbench.cli import run
from fqtbench.cli_hosts import lab_scheduler, lab_worker
from fqtbench.errors import UsageError
from fqtbench.hosts.address import Address, security_of


@pytest.mark.parametrize(
    ("text", "shown", "loopback"),
    [
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", True),
        ("tcp://localhost", "tcp://localhost:8786", True),
        ("tcp://[::1]:1", "tcp://[::1]:1", True),
        ("tls://lab.example", "tls://lab.example:8786", False),
        ("tcp://127.0.0.1.example:9", "tcp://127.0.0.1.example:9", False),
        ("tcp://0.0.0.0", "tcp://0.0.0.0:8786", False),
    ],
)
def test_addresses(text: str, shown: str, loopback: bool) -> None:
    address = Address.parse(text)
    assert (str(address), address.is_loopback) == (shown, loopback)


@pytest.mark.parametrize(
    "text", ["", "lab:8786", "ucx://lab", "tcp://", "tcp://a:b", "tcp://a:99999", "tcp://a/x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not tcp://HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    "command",
    [
        lambda: lab_scheduler(host="0.0.0.0"),
        lambda: lab_worker(scheduler="tcp://192.0.2.1"),
        lambda: run("quickstart", scheduler="tcp://192.0.2.1"),
    ],
    ids=["scheduler", "worker", "run"],
)
def test_a_network_needs_tls(command: Callable[[], None]) -> None:
    told = r"without TLS anybody on that network could run programs on every host; make .* docs/lab\.md"
    with pytest.raises(UsageError, match=told):
        command()


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_hosts, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'fqtbench\[lab\]'"):
        run("quickstart", scheduler="tcp://127.0.0.1")


def test_tls_needs_all_three_files(tmp_path: Path) -> None:
    address = Address.parse("tls://lab.example")
    with pytest.raises(UsageError, match="TLS needs ca, cert, key"):
        security_of(address, LabTable())
    here = tmp_path / "x.pem"
    here.write_text("no certificate")
    with pytest.raises(UsageError, match="key: no such file"):
        security_of(address, LabTable(ca=here, cert=here, key=tmp_path / "y"))
    with pytest.raises(UsageError, match="no certificates that belong together"):
        security_of(address, LabTable(ca=here, cert=here, key=here))


def test_files_are_beside_the_bench_file_that_names_them(tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text('[lab]\nca = "ca.pem"\ncert = "/etc/x.pem"\n')
    assert load_lab(bench) == LabTable(ca=tmp_path / "ca.pem", cert=Path("/etc/x.pem"))
