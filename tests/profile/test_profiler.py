"""Promise: a profiler that answers nonsense, nothing, or an error is one clear error, and never a profile."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fqtbench.bench.job import Watch
from fqtbench.bench.profiler import Trace, open_profiler
from fqtbench.errors import BoardError, LinkError, ResultError
from fqtbench.profile.analyse import break_down
from fqtbench.profile.symbols import FirmwareMap
from fqtbench.virtual.profile_server import ProfileServer
from tests.virtual.chips import chip_with
from tests.virtual.programs import CALLS

DEADLINE_S = 20
NOBODY = Watch(functions=(), cut=(), markers=())
GOOD = {
    "cycles": 7,
    "outside_cycles": 2,
    "strays": 0,
    "nodes": [[0, 0, 0, 0, 0]],
    "cells": [[0, 4, 2, 1, 5, 1]],
}


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A profiler that gives one answer to whatever it is asked, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.settimeout(DEADLINE_S)
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(DEADLINE_S)


@pytest.mark.parametrize(
    ("answer", "error", "expected"),
    [
        (b"", LinkError, "broke off"),
        (b'{"cycles": ', LinkError, "broke off"),
        (b"hello\n", LinkError, "not JSON"),
        (b"[1]\n", LinkError, "no object"),
        (b"[" * 100_000 + b"\n", LinkError, "not JSON"),
        (b"{}\n", LinkError, "no profile"),
        (json.dumps(GOOD | {"cells": [[0, 4, 2, 0, 5, 1]]}).encode() + b"\n", LinkError, "no profile"),
        (b'{"error": "no room"}\n', BoardError, "no room"),
    ],
)
def test_a_wrong_answer_is_an_error(answer: bytes, error: type[Exception], expected: str) -> None:
    with _answering(answer) as url, open_profiler(url) as profiler, pytest.raises(error, match=expected):
        profiler.end()


@pytest.mark.parametrize(
    "url", ["", "tcp://127.0.0.1", "http://127.0.0.1:1", "tcp://127.0.0.1:99999", "tcp://[:1"]
)
def test_a_wrong_address_is_an_error(url: str) -> None:
    with pytest.raises(LinkError, match="the address must be"), open_profiler(url):
        pass


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cycles": 8}, "counted 7 of 8 cycles"),
        ({"cells": [[1, 4, 2, 1, 5, 1]]}, "no tree"),
        ({"nodes": []}, "no tree"),
        ({"nodes": [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]}, "no tree"),
    ],
)
def test_a_trace_that_does_not_add_up_is_refused(change: dict[str, object], expected: str) -> None:
    trace = Trace.model_validate(GOOD | change)
    with pytest.raises(ResultError, match=expected):
        break_down(trace, FirmwareMap((), (), (), ()), [], [])


def test_the_server_answers_when_the_chip_waits_and_not_before() -> None:
    chip = chip_with(CALLS)
    server = ProfileServer(chip)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            server.service()
            if chip.runnable:
                chip.run(100)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with open_profiler(server.url) as profiler:
            profiler.begin(NOBODY)
            assert not chip.runnable
            with pytest.raises(BoardError, match="begun already"):
                profiler.begin(NOBODY)
            assert profiler.end().cycles == 0, "the program had ended when the profile began"
            with pytest.raises(BoardError, match="no profile has begun"):
                profiler.end()
            with pytest.raises(BoardError, match="no function begins at 0x4"):
                profiler.begin(Watch(functions=(), cut=((4, 1),), markers=()))
    finally:
        ended.set()
        thread.join(DEADLINE_S)
        server.close()
