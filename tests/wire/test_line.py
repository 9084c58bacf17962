"""Promises of the serial line: bytes pass whole, and a port that can't be used says why."""

import os
import pty
import socket
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from fqtbench.errors import LinkError
from fqtbench.wire import Device, open_line
from tests.wire.native_device import SAMPLE_BYTES, crc_chain

pytestmark = pytest.mark.timeout(60)

ALL_BYTES = bytes(range(256))


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the master's descriptor, the slave's path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_a_port_passes_every_byte(terminal: tuple[int, str]) -> None:
    """Both ways, all values, nothing translated or echoed."""
    master, path = terminal
    with open_line(path, 1_000_000) as line:
        assert line.name == path
        line.write(ALL_BYTES)
        echoed = b""
        while len(echoed) < 256:
            echoed += os.read(master, 4096)
        assert echoed == ALL_BYTES
        os.write(master, ALL_BYTES)
        received = b""
        while len(received) < 256:
            received += line.read()
        assert received == ALL_BYTES
        assert line.read() == b""


def test_a_port_whose_other_end_is_gone_says_so() -> None:
    """Not silence: a read that did not wait, and brought nothing, is no time-out."""
    master, slave = pty.openpty()
    with open_line(os.ttyname(slave), 1_000_000) as line:
        os.close(slave)
        os.close(master)
        with pytest.raises(LinkError, match=r"reading from the serial line failed .* unplugged"):
            line.read()
        with pytest.raises(LinkError, match="writing to the serial line failed"):
            line.write(b"x")


def test_a_closed_port_refuses(terminal: tuple[int, str]) -> None:
    """Its descriptors may be somebody else's by now."""
    line = open_line(terminal[1], 1_000_000)
    line.close()
    line.close()
    with pytest.raises(LinkError, match="reading from"):
        line.read()
    with pytest.raises(LinkError, match="writing to"):
        line.write(b"x")


def test_a_port_is_held_exclusively(terminal: tuple[int, str]) -> None:
    """A second program is told that the port is in use, until the first lets go."""
    _, path = terminal
    with open_line(path, 115_200), pytest.raises(LinkError, match="another program holds the serial port"):
        open_line(path, 115_200)
    open_line(path, 115_200).close()


def test_a_missing_port(tmp_path: Path) -> None:
    """No such port, and where to look."""
    with pytest.raises(LinkError, match=r"ttyACM9: no such serial port; is the board plugged in"):
        open_line(str(tmp_path / "ttyACM9"), 115_200)


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is named; root, who may open anything, gets the refusal from a stand-in for open(2)."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match=r"/dev/ttyACM0: no permission .* dialout"):
        open_line("/dev/ttyACM0", 115_200)


def test_a_socket_passes_every_byte_and_its_end_is_an_error() -> None:
    """socket:// is a line like any other; when the peer goes away the error says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with open_line(url, 115_200) as line:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(10)
                line.write(ALL_BYTES)
                echoed = b""
                while len(echoed) < 256:
                    echoed += peer.recv(4096)
                assert echoed == ALL_BYTES
                peer.sendall(ALL_BYTES)
                received = b""
                while len(received) < 256:
                    received += line.read()
                assert received == ALL_BYTES
            with pytest.raises(LinkError, match=r"socket://.*reading from the serial line failed"):
                while line.read() == b"":
                    pass


def test_nothing_listens() -> None:
    """A dead socket is refused with its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LinkError, match=f"socket://127.0.0.1:{port}: nothing listens there"):
        open_line(f"socket://127.0.0.1:{port}", 115_200)


@pytest.mark.parametrize("url", ["nonsense://x", "socket://nohost"])
def test_a_wrong_url(url: str) -> None:
    """An address that pyserial doesn't understand is a LinkError too."""
    with pytest.raises(LinkError, match=url):
        open_line(url, 115_200)


def test_training_over_a_port(terminal: tuple[int, str], device_executable: Path) -> None:
    """The device on the far end of a port: every sample once and in order, nothing sent twice."""
    master, path = terminal
    samples = [(bytes([n % 256]) * SAMPLE_BYTES, n % 9) for n in range(500)]
    options = ["1", str(SAMPLE_BYTES), "2", "0", "0"]
    process = subprocess.Popen([str(device_executable), *options], stdin=master, stdout=master)
    try:
        with open_line(path, 1_000_000) as line:
            device = Device(line, retransmit_timeout_s=20)
            device.hello()
            assert [step.step for step in device.train(samples)] == list(range(1, 501))
            assert device.checksum().crc32 == crc_chain(samples)
            assert not device.perturbed
    finally:
        process.kill()
        process.wait(timeout=30)
