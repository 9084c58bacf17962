"""A virtual board's profiler on a TCP socket of this computer: begin to follow calls, end, and hand out what ran.

Requests and answers are JSON, one a line (docs/profiling.md). An answer waits until the chip waits for the host: so the
profile begins and ends at the same instants of virtual time, whatever the host's timing.
"""

import json
import socket
from contextlib import suppress
from typing import Any, Final

from fqtbench.virtual.calltree import CallTree, Watch
from fqtbench.virtual.chip import Chip

HOST: Final = "127.0.0.1"
_MAX_REQUEST_BYTES: Final = 1 << 20
_RECEIVE_BYTES: Final = 1 << 16
_SEND_DEADLINE_S: Final = 10.0


class ProfileServer:
    """Serves the profiler of `chip` at `url` until `close`; one client at a time, a second one waits."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._listener = socket.create_server((HOST, 0), backlog=1)
        self._listener.setblocking(False)
        self.url: Final = f"tcp://{HOST}:{self._listener.getsockname()[1]}"
        self._client: socket.socket | None = None
        self._received = b""
        self._tree: CallTree | None = None

    def readers(self) -> list[socket.socket]:
        """Return what to select on before `service`."""
        return [self._client or self._listener]

    def service(self) -> bool:
        """Answer if the chip waits for the host, and take what has arrived; returns whether that needs another call.

        A request is answered in a later call than it arrives in: whoever calls has polled the chip's line in between,
        and so has everything that the host sent before the request.
        """
        if b"\n" in self._received and not self._chip.runnable:
            request, _, self._received = self._received.partition(b"\n")
            self._send(self._answer(request))
        if self._client is None:
            with suppress(BlockingIOError):
                self._client = self._listener.accept()[0]
                self._client.setblocking(False)
        if self._client is not None:
            self._receive(self._client)
        return b"\n" in self._received

    def close(self) -> None:
        """Let go of the client and the port."""
        self._drop()
        self._listener.close()

    def _receive(self, client: socket.socket) -> None:
        try:
            data = client.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        if not data or len(self._received) > _MAX_REQUEST_BYTES:
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._received = None, b""
        if self._tree is not None:
            self._tree.close()
        self._tree = None

    def _send(self, answer: dict[str, Any]) -> None:
        if self._client is None:
            return
        try:
            self._client.settimeout(_SEND_DEADLINE_S)
            self._client.sendall(json.dumps(answer).encode() + b"\n")
            self._client.setblocking(False)
        except OSError:
            self._drop()

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            data = json.loads(request)
            match data["do"]:
                case "begin":
                    watch = Watch.parse(data["watch"])
                case "end":
                    return self._end()
                case other:
                    raise ValueError(f"unknown request {other}")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return {"error": f"{type(error).__name__}: {error}"[:300]}
        if self._tree is not None:
            return {"error": "a profile has begun already"}
        self._tree = CallTree(self._chip.cpu, self._chip.memory, watch)
        return {"began": self._tree.began}

    def _end(self) -> dict[str, Any]:
        tree, self._tree = self._tree, None
        if tree is None:
            return {"error": "no profile has begun"}
        tree.close()
        if tree.full:
            return {"error": "more calls and blocks than the profiler holds; profile fewer steps"}
        return {
            "cycles": tree.cycles,
            "outside_cycles": tree.outside_cycles,
            "strays": tree.strays,
            "nodes": tree.nodes(),
            "cells": tree.cells(),
        }
