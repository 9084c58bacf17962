"""Promise: the outside of a virtual UART carries every byte both ways, to one host, and leaves nothing behind."""

import os
import select
import socket
from pathlib import Path

import pytest
import serial

from fqtbench.virtual.uart_line import Line, PtyLine, TcpLine

_ALL_BYTES = bytes(range(256)) * 8
_DEADLINE_S = 10.0


def _receive(line: Line, n: int) -> bytes:
    data = b""
    while len(data) < n:
        assert select.select(line.readers(), [], [], _DEADLINE_S)[0], "the host's bytes did not arrive"
        data += line.poll()
    return data


@pytest.mark.parametrize("kind", [PtyLine, TcpLine])
def test_every_byte_passes_both_ways(kind: type[PtyLine] | type[TcpLine]) -> None:
    line = kind()
    try:
        with serial.serial_for_url(line.url, baudrate=1_000_000, timeout=_DEADLINE_S) as port:
            port.write(_ALL_BYTES)
            assert _receive(line, len(_ALL_BYTES)) == _ALL_BYTES
            line.send(_ALL_BYTES)
            assert port.read(len(_ALL_BYTES)) == _ALL_BYTES
    finally:
        line.close()


def test_a_pty_is_published_as_a_link_and_removed(tmp_path: Path) -> None:
    link = tmp_path / "uart"
    line = PtyLine(link)
    assert link.is_symlink()
    assert Path(line.url) == link
    line.close()
    assert not os.path.lexists(link)


def test_a_second_client_of_a_socket_is_refused_and_the_first_keeps_its_line() -> None:
    line = TcpLine()
    address = ("127.0.0.1", int(line.url.rpartition(":")[2]))
    try:
        with socket.create_connection(address, _DEADLINE_S) as first:
            line.poll()
            with socket.create_connection(address, _DEADLINE_S) as second:
                line.poll()
                assert second.recv(1) == b""
            first.sendall(b"still here")
            assert _receive(line, 10) == b"still here"
        with socket.create_connection(address, _DEADLINE_S) as next_one:
            line.poll()  # notices that the first has gone, and takes the next
            next_one.sendall(b"next")
            assert _receive(line, 4) == b"next"
    finally:
        line.close()


def test_a_link_that_another_board_has_taken_over_is_left_to_it(tmp_path: Path) -> None:
    link = tmp_path / "uart"
    first, second = PtyLine(link), PtyLine(link)
    first.close()
    assert link.is_symlink()
    second.close()
    assert not os.path.lexists(link)


def test_a_closed_line_leaves_no_descriptor() -> None:
    line = PtyLine()
    (descriptor,) = line.readers()
    line.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
