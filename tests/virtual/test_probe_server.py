"""The probe server serves stock pyOCD, one client at a time, and survives whatever arrives."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.virtual.debugport import (
    AP_CSW,
    AP_DRW,
    AP_TAR,
    CTRL_CDBGPWRUPREQ,
    DP_CTRL_STAT,
    DP_SELECT,
    DebugPort,
)
from fqtbench.virtual.probe_protocol import (
    MAX_TRANSFER_BYTES,
    STATUS_GENERAL_ERROR,
    STATUS_OK,
    STATUS_PROBE_ERROR,
    STATUS_TRANSFER_FAULT,
    ProbeSession,
    RequestError,
    parse_request,
)
from fqtbench.virtual.probe_server import ProbeServer
from tests.virtual.fake_target import RAM_START, FakeTarget, serving

DEADLINE_S = 60


class Client:
    """A client at the level of lines."""

    def __init__(self, server: ProbeServer) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
        self._lines = self.sock.makefile("rb")

    def send_line(self, line: bytes) -> dict[str, Any]:
        self.sock.sendall(line + b"\n")
        answer = self._lines.readline()
        assert answer.endswith(b"\n"), "the server has dropped the connection"
        return dict(json.loads(answer))

    def ask(self, name: str, *arguments: object) -> dict[str, Any]:
        request = {"id": 7, "request": name, "arguments": list(arguments)}
        answer = self.send_line(json.dumps(request).encode())
        assert answer["id"] == 7
        return answer

    def connect(self) -> None:
        for name, arguments in (("hello", [1]), ("open", []), ("lock", []), ("connect", ["DEFAULT"])):
            assert self.ask(name, *arguments)["status"] == STATUS_OK
        assert self.ask("write_dp", DP_CTRL_STAT, CTRL_CDBGPWRUPREQ)["status"] == STATUS_OK

    def dropped(self) -> bool:
        """Whether the server closes the connection (a hang is a time-out)."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._lines.close()
        self.sock.close()


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def server(target: FakeTarget) -> Iterator[ProbeServer]:
    with serving(target) as server:
        yield server


@pytest.fixture
def client(server: ProbeServer) -> Iterator[Client]:
    with closing(Client(server)) as client:
        yield client


class TestProtocol:
    def test_listens_on_the_loopback_only(self, server: ProbeServer) -> None:
        assert [s.getsockname()[0] for s in server.readers()] == ["127.0.0.1"]
        assert server.probe_id == f"remote:127.0.0.1:{server.port}"

    def test_memory_by_every_way_is_the_same_memory(self, client: Client, target: FakeTarget) -> None:
        client.connect()
        handle = client.ask("get_memory_interface_for_ap", 1, 0)["result"]
        words = [0x0403_0201, 0x0807_0605]
        assert client.ask("write_block32", handle, RAM_START, words)["status"] == STATUS_OK
        assert target.read_memory(RAM_START, 8) == bytes(range(1, 9))
        assert client.ask("read_block8", handle, RAM_START + 1, 3)["result"] == [2, 3, 4]
        assert client.ask("read_mem", handle, RAM_START + 4, 16)["result"] == 0x0605
        client.ask("write_dp", DP_SELECT, 0)
        client.ask("write_ap", AP_CSW, 0x12)
        client.ask("write_ap", AP_TAR, RAM_START)
        assert client.ask("read_ap_multiple", AP_DRW, 2)["result"] == words
        client.ask("write_ap", AP_TAR, RAM_START)
        assert client.ask("write_ap_multiple", AP_DRW, [9, 10])["status"] == STATUS_OK
        assert client.ask("read_block32", handle, RAM_START, 2)["result"] == [9, 10]
        assert client.ask("write_mem", handle, RAM_START, 0xAB, 8)["status"] == STATUS_OK
        assert client.ask("write_block8", handle, RAM_START + 1, [0xCD])["status"] == STATUS_OK
        assert client.ask("read_mem", handle, RAM_START, 32)["result"] == 0x0000_CDAB

    def test_only_the_memory_port_has_a_memory_interface(self, client: Client) -> None:
        client.connect()
        assert client.ask("get_memory_interface_for_ap", 1, 1) == {"id": 7, "status": STATUS_OK}

    def test_a_fault_has_the_status_of_a_fault(self, client: Client) -> None:
        client.connect()
        answer = client.ask("read_block32", 0, 0x3000_0000, 1)
        assert answer["status"] == STATUS_TRANSFER_FAULT
        assert "0x30000000" in answer["error"]

    def test_requests_before_connect_are_refused(self, client: Client) -> None:
        assert client.ask("read_dp", 0)["status"] == STATUS_PROBE_ERROR
        assert client.ask("connect", "SWD")["status"] == STATUS_PROBE_ERROR

    def test_an_answer_larger_than_the_socket_buffers_arrives_whole(self, client: Client) -> None:
        client.connect()
        assert client.ask("read_block32", 0, 0, 0x4_0000)["result"] == [0xFFFF_FFFF] * 0x4_0000

    def test_pipelined_requests_are_all_answered_in_order(self, client: Client, server: ProbeServer) -> None:
        count = 500  # more than one call of service() answers
        lines = b"".join(b'{"id":%d,"request":"flush"}\n' % i for i in range(count))
        client.sock.sendall(lines)
        with client.sock.makefile("rb") as answers:
            assert [json.loads(answers.readline())["id"] for _ in range(count)] == list(range(count))

    def test_a_defect_of_the_chip_is_answered_and_logged(
        self, client: Client, target: FakeTarget, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.connect()
        target.read_memory = lambda address, size: 1 / 0  # type: ignore[assignment, return-value]
        answer = client.ask("read_block32", 0, RAM_START, 1)
        assert answer["status"] == STATUS_GENERAL_ERROR
        assert "ZeroDivisionError" in caplog.text
        assert client.ask("flush")["status"] == STATUS_OK


class TestOneHolder:
    def test_a_second_client_is_told_who_holds_the_probe(self, client: Client, server: ProbeServer) -> None:
        client.connect()
        host, port = client.sock.getsockname()
        with closing(Client(server)) as second:
            answer = second.ask("hello", 1)
            assert answer["status"] == STATUS_PROBE_ERROR
            assert f"in use by {host}:{port}" in answer["error"]
        assert client.ask("read_dp", 0)["result"] == 0x2BA0_1477

    def test_a_connection_that_says_nothing_holds_nothing(self, client: Client, server: ProbeServer) -> None:
        with closing(Client(server)) as talking:
            talking.connect()

    def test_a_client_killed_with_the_lock_frees_the_probe(
        self, server: ProbeServer, target: FakeTarget
    ) -> None:
        script = (
            "import json, socket, sys\n"
            "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
            "f = s.makefile('rw')\n"
            "for i, r in enumerate(json.loads(sys.argv[2])):\n"
            "    f.write(json.dumps(dict(id=i, request=r[0], arguments=r[1])) + '\\n'); f.flush(); f.readline()\n"
            "print('holding', flush=True)\n"
            "sys.stdin.read()\n"
        )
        requests = [
            ["hello", [1]],
            ["open", []],
            ["lock", []],
            ["connect", ["SWD"]],
            ["assert_reset", [True]],
        ]
        holder = subprocess.Popen(
            [sys.executable, "-c", script, str(server.port), json.dumps(requests)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"holding\n"
            with closing(Client(server)) as second:
                assert second.ask("hello", 1)["status"] == STATUS_PROBE_ERROR
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate(timeout=DEADLINE_S)
        with closing(Client(server)) as third:
            third.connect()
            assert third.ask("is_reset_asserted")["result"] is False
            assert not target.halted

    def test_what_a_client_opened_dies_with_its_connection(self, server: ProbeServer) -> None:
        with closing(Client(server)) as first:
            first.connect()
        with closing(Client(server)) as second:
            assert second.ask("read_dp", 0)["status"] == STATUS_PROBE_ERROR
            assert second.ask("readprop", "wire_protocol") == {"id": 7, "status": STATUS_OK}

    def test_a_crowd_is_cut_off_and_does_not_disturb_the_holder(
        self, client: Client, server: ProbeServer
    ) -> None:
        client.connect()
        crowd = [Client(server) for _ in range(20)]
        try:
            assert crowd[-1].dropped()
            assert client.ask("read_dp", 0)["result"] == 0x2BA0_1477
        finally:
            for one in crowd:
                one.close()


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(sorted(ProbeSession(DebugPort(FakeTarget()), "id", "name")._handlers))


class TestHostileInput:
    @given(name=_names, arguments=st.lists(_json_values, max_size=5))
    @settings(max_examples=400, deadline=None)
    def test_any_arguments_are_executed_or_refused(self, name: str, arguments: list[Any]) -> None:
        session = ProbeSession(DebugPort(FakeTarget()), "id", "name")
        for setup in (("open", []), ("connect", ["SWD"]), ("write_dp", [DP_CTRL_STAT, CTRL_CDBGPWRUPREQ])):
            session.execute(*setup)
        try:
            result = session.execute(name, arguments)
        except RequestError as error:
            assert str(error)
        else:
            json.dumps(result)

    @given(line=st.binary(max_size=200))
    @settings(deadline=None)
    def test_any_line_is_parsed_or_refused(self, line: bytes) -> None:
        try:
            identifier, name, arguments = parse_request(line)
        except RequestError as error:
            assert error.status == STATUS_GENERAL_ERROR
        else:
            assert (type(identifier), type(name), type(arguments)) == (int, str, list)

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b'{"id": 1}',
            b'{"id": "x", "request": "hello"}',
            b'{"id": 1, "request": 5}',
            b'{"id": 1, "request": "hello", "arguments": {}}',
            b'{"id": 1, "request": "jtag_sequence", "arguments": []}',
            b'{"id": 1, "request": "hello"}',
            b'{"id": 1, "request": "hello", "arguments": [2]}',
            b"[" * 100_000,
            b'{"id": ' + b"9" * 10_000 + b"}",
        ],
    )
    def test_a_bad_line_is_answered_with_an_error(self, client: Client, line: bytes) -> None:
        answer = client.send_line(line)
        assert answer["status"] == STATUS_GENERAL_ERROR
        assert answer["error"]
        client.connect()

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("read_block8", [0, 0, MAX_TRANSFER_BYTES + 1]),
            ("read_ap_multiple", [AP_DRW, 0xFFFF_FFFF]),
            ("read_block32", [0, 2, 1]),
            ("read_block32", [1, 0, 1]),
            ("write_block8", [0, RAM_START, [256]]),
            ("write_block32", [0, RAM_START, ["1"]]),
            ("write_mem", [0, RAM_START, 256, 8]),
            ("read_mem", [0, RAM_START, 64]),
            ("read_dp", [-1]),
            ("write_dp", [0, 1 << 32]),
            ("read_dp", [True]),
            ("readprop", [["name"]]),
        ],
    )
    def test_an_impossible_request_is_refused(self, client: Client, name: str, arguments: list[Any]) -> None:
        client.connect()
        assert client.ask(name, *arguments)["status"] == STATUS_GENERAL_ERROR

    def test_an_endless_line_drops_the_connection(self, client: Client, server: ProbeServer) -> None:
        chunk = b"x" * (1 << 20)
        with pytest.raises(OSError):  # reset or broken pipe, as the timing falls
            for _ in range(64):
                client.sock.sendall(chunk)
        with closing(Client(server)) as second:
            second.connect()

    def test_a_client_that_fetches_nothing_is_dropped(self, client: Client, server: ProbeServer) -> None:
        client.connect()
        request = json.dumps({"id": 1, "request": "read_block8", "arguments": [0, 0, 0x10_0000]}) + "\n"
        client.sock.sendall(request.encode() * 40)
        with closing(Client(server)) as second:
            for _ in range(DEADLINE_S * 100):  # each refusal takes the server one round
                if second.ask("hello", 1)["status"] == STATUS_OK:
                    break
            else:
                pytest.fail("the probe is still held")


def _pyocd(server: ProbeServer, folder: Path, *arguments: str) -> str:
    """Run stock pyOCD against the server; return what it prints."""
    probe = ["-u", f"remote:localhost:{server.port}", "-t", "nrf52840"]
    command = [sys.executable, "-m", "pyocd", *arguments, *probe]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestStockPyocd:
    def test_flash(self, server: ProbeServer, target: FakeTarget, tmp_path: Path) -> None:
        content = random.Random(1).randbytes(50_000)
        (tmp_path / "content.bin").write_bytes(content)
        _pyocd(server, tmp_path, "flash", "-a", "0x1000", str(tmp_path / "content.bin"))
        assert target.flash[0x1000 : 0x1000 + len(content)] == content

    def test_commander(self, server: ProbeServer, target: FakeTarget, tmp_path: Path) -> None:
        target.write_memory(RAM_START, bytes.fromhex("efbeadde"))
        lines = ("halt", "wreg r3 0x1234", "reg r3", "rw 0x20000000")
        out = _pyocd(server, tmp_path, "cmd", *(part for line in lines for part in ("-c", line)))
        assert "deadbeef" in out
        assert "0x00001234" in out
        assert target.registers[3] == 0x1234

    def test_reset(self, server: ProbeServer, target: FakeTarget, tmp_path: Path) -> None:
        _pyocd(server, tmp_path, "reset")
        assert target.resets == [False]
        assert not target.halted

    def test_connecting_under_reset(self, server: ProbeServer, target: FakeTarget, tmp_path: Path) -> None:
        target.flash[:8] = (RAM_START + 0x1000).to_bytes(4, "little") + (0x101).to_bytes(4, "little")
        out = _pyocd(server, tmp_path, "cmd", "-M", "under-reset", "-c", "reg pc")
        assert target.resets == [True]
        assert "0x00000100" in out


def test_the_server_waits_without_a_client_no_longer_than_told(target: FakeTarget) -> None:
    """`service` returns in a frozen or idle board's loop: it never waits for a request to become complete."""
    with closing(ProbeServer(target)) as server, closing(Client(server)) as client:
        client.sock.sendall(b'{"id": 1, "request": "flu')
        done = threading.Event()
        threading.Thread(target=lambda: (server.service(0.01), server.service(0.01), done.set())).start()
        assert done.wait(DEADLINE_S)
