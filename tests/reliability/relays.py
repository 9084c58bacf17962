"""Relays between a host and a virtual board, for its serial line and its probe, with a `Trouble` in between."""

import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from fqtbench.board import load_models
from fqtbench.probe import Probe
from fqtbench.virtual.uart_line import PtyLine
from tests.reliability.trouble import Channel, Trouble

_CHUNK_BYTES: Final = 1 << 16
_TURN_S: Final = 0.02  # how late the end of an interruption may be seen
_LOOPBACK: Final = "127.0.0.1"
_END_DEADLINE_S: Final = 10
_STILL_DEADLINE_S: Final = 120


class Relays:
    """Offers a board's `addresses` anew; `die` ends the board when the trouble says so."""

    def __init__(
        self, addresses: dict[str, Any], trouble: Trouble, die: Callable[[], None] = lambda: None
    ) -> None:
        self._line = PtyLine()
        self._board = os.open(addresses["serial"], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._probe_at = (_LOOPBACK, int(addresses["probe"].rpartition(":")[2]))
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._other: dict[socket.socket, socket.socket] = {}
        self._hosts: set[socket.socket] = set()
        self._die = die
        port = self._listener.getsockname()[1]
        self.addresses = addresses | {"probe": f"remote:{_LOOPBACK}:{port}", "serial": self._line.url}
        self.set_trouble(trouble)

    def set_trouble(self, trouble: Trouble) -> None:
        """Begin to count anew, with another trouble; only between two turns."""
        self._trouble = trouble
        self._spent = trouble.struck is not None and trouble.struck.exists()
        self._interrupted_until_s = 0.0
        self._to_board, self._to_host = Channel(trouble, 0), Channel(trouble, 1)
        self._serial_bytes = self._probe_bytes = 0

    def turn(self, also: tuple[int, ...] = ()) -> list[int]:
        """Pass on what has arrived; return which of the descriptors `also` can be read."""
        ends = [self._listener, *self._other, *self._line.readers(), self._board]
        ready, _, _ = select.select([*ends, *also], [], [], _TURN_S)
        self._pass_serial(os.read(self._board, _CHUNK_BYTES) if self._board in ready else b"")
        for end in [end for end in ready if isinstance(end, socket.socket)]:
            if end is self._listener:
                self._accept()
            elif end in self._other:
                self._pass_probe(end)
        return [end for end in ready if end in also]

    def close(self) -> None:
        """Close both relays."""
        for end in self._other:
            end.close()
        self._other.clear()
        self._listener.close()
        os.close(self._board)
        self._line.close()

    # -- serial line

    def _pass_serial(self, from_board: bytes) -> None:
        from_host = self._line.poll()
        self._serial_bytes += len(from_host)
        if self._strikes(self._serial_bytes, self._trouble.serial_from):
            self._interrupted_until_s = time.monotonic() + self._trouble.serial_s
        interrupted = time.monotonic() < self._interrupted_until_s
        to_board = self._to_board.passed(from_host, interrupted)
        dies = self._strikes(self._serial_bytes, self._trouble.dies_at_serial)
        os.write(
            self._board, to_board[: len(to_board) // 2] if dies and self._trouble.dies_in_frame else to_board
        )
        self._line.send(self._to_host.passed(from_board, interrupted))
        if dies:
            self._die()

    # -- probe

    def _accept(self) -> None:
        host, _ = self._listener.accept()
        board = socket.create_connection(self._probe_at, _END_DEADLINE_S)
        for end in (host, board):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._other |= {host: board, board: host}
        self._hosts.add(host)

    def _pass_probe(self, end: socket.socket) -> None:
        try:
            data = end.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if end in self._hosts:
            self._probe_bytes += len(data)
        if not data or self._strikes(self._probe_bytes, self._trouble.probe_lost_at):
            self._disconnect(end)
            return
        if self._strikes(self._probe_bytes, self._trouble.dies_at_probe):
            self._die()
        try:
            self._other[end].sendall(data)
        except OSError:
            self._disconnect(end)

    def _disconnect(self, end: socket.socket) -> None:
        other = self._other.pop(end)
        del self._other[other]
        self._hosts -= {end, other}
        end.close()
        other.close()

    # -- when it strikes

    def _strikes(self, count: int, limit: int) -> bool:
        """Whether the trouble strikes now: once."""
        if self._spent or not limit or count < limit:
            return False
        self._spent = True
        if self._trouble.struck is not None:
            self._trouble.struck.touch()
        return True


class Served:
    """Relays that a thread of this process serves.

    Where a trouble says that the board dies, it stands still instead until the trouble is over; `struck` is set then.
    """

    def __init__(self, addresses: dict[str, Any]) -> None:
        self.struck, self._over = threading.Event(), threading.Event()
        self._relays = Relays(addresses, Trouble(), self._stand_still)
        self.addresses = self._relays.addresses
        self._next: Trouble | None = None
        self._taken = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @contextmanager
    def having(self, trouble: Trouble) -> Iterator[None]:
        """Have a trouble while the context lasts."""
        self.struck.clear()
        self._over.clear()
        self._set(trouble)
        try:
            yield
        finally:
            self._over.set()
            self._set(Trouble())

    def erase(self) -> None:
        """Erase the chip, so that the next run programs all of it."""
        Probe(self.addresses["probe"], load_models()["nrf52840"].pyocd_target or "").recover()

    def close(self) -> None:
        """End the thread, close the relays."""
        self._ended.set()
        self._thread.join(_END_DEADLINE_S)
        self._relays.close()

    def _stand_still(self) -> None:
        self.struck.set()
        self._over.wait(_STILL_DEADLINE_S)

    def _set(self, trouble: Trouble) -> None:
        self._taken.clear()
        self._next = trouble
        assert self._taken.wait(_END_DEADLINE_S), "the relays' thread has ended"

    def _serve(self) -> None:
        while not self._ended.is_set():
            trouble, self._next = self._next, None
            if trouble is not None:
                self._relays.set_trouble(trouble)
                self._taken.set()
            self._relays.turn()
