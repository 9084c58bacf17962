"""`Probe` flashes, verifies, refuses and recovers; and every failure is one line saying what to do."""

import random
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyocd.core.helpers import ConnectHelper
from pyocd.probe.cmsis_dap_probe import CMSISDAPProbe

from fqtbench.errors import FlashError, FqtbenchError, ImageError, ProbeError, UsageError
from fqtbench.probe import FlashReport, Probe, ProbeInfo, Segment, elf_segments, list_probes, unknown_targets
from fqtbench.virtual.probe_server import ProbeServer
from tests.virtual.fake_target import PAGE_BYTES, RAM_START, FakeTarget, serving

CHIP = "nrf52840"
DEADLINE_S = 60
DEMCR = 0xE000_EDFC
TRCENA = 1 << 24


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def server(target: FakeTarget) -> Iterator[ProbeServer]:
    with serving(target) as server:
        yield server


@pytest.fixture
def probe(server: ProbeServer) -> Iterator[Probe]:
    with Probe(server.probe_id, CHIP) as probe:
        yield probe


def assert_one_clear_line(error: FqtbenchError, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    for part in parts:
        assert part in message


class TestFlash:
    def test_200_kb_arrive_in_a_bounded_number_of_requests(
        self, probe: Probe, server: ProbeServer, target: FakeTarget
    ) -> None:
        content = random.Random(1).randbytes(200 * 1024)
        before = server.requests
        report = probe.flash([Segment(0x4_0000, content)])
        assert target.flash[0x4_0000 : 0x4_0000 + len(content)] == content
        assert (report.programmed_bytes, report.skipped_bytes) == (len(content), 0)
        sectors = len(content) // PAGE_BYTES
        assert server.requests - before < 160 * sectors

    def test_unchanged_content_programs_nothing(
        self, probe: Probe, server: ProbeServer, target: FakeTarget
    ) -> None:
        segment = Segment(0x1000, random.Random(2).randbytes(100_000))
        probe.flash([segment])
        target.pages_programmed.clear()
        before, resets = server.requests, len(target.resets)
        report = probe.flash([segment])
        assert (report.programmed_bytes, report.skipped_bytes) == (0, 25 * PAGE_BYTES)
        assert target.pages_programmed == []
        assert len(target.resets) == resets
        assert server.requests - before < 20

    def test_only_sectors_that_differ_are_programmed(self, probe: Probe, target: FakeTarget) -> None:
        content = bytearray(random.Random(3).randbytes(5 * PAGE_BYTES))
        probe.flash([Segment(0, bytes(content))])
        target.pages_programmed.clear()
        content[2 * PAGE_BYTES + 5] ^= 0xFF
        report = probe.flash([Segment(0, bytes(content))])
        assert target.pages_programmed == [2 * PAGE_BYTES]
        assert (report.programmed_bytes, report.skipped_bytes) == (PAGE_BYTES, 4 * PAGE_BYTES)
        assert target.flash[: len(content)] == content

    def test_bytes_beside_a_segment_are_kept(self, probe: Probe, target: FakeTarget) -> None:
        target.flash[0x2000:0x3000] = bytes(range(256)) * 16
        probe.flash([Segment(0x2003, b"new"), Segment(0x2FFE, b"over")])
        expected = bytearray(bytes(range(256)) * 16 + b"\xff" * 0x1000)
        expected[3:6] = b"new"
        expected[0xFFE:0x1002] = b"over"
        assert target.flash[0x2000:0x4000] == expected

    def test_progress_rises_to_one(self, probe: Probe) -> None:
        seen: list[float] = []
        probe.flash([Segment(0, bytes(20_000))], seen.append)
        assert seen == sorted(seen)
        assert 0 <= seen[0] < seen[-1] == 1.0
        assert len(seen) > 4

    def test_a_wrong_byte_in_flash_is_found(
        self, probe: Probe, target: FakeTarget, server: ProbeServer
    ) -> None:
        target.fail_programming_at = 0x3000
        with pytest.raises(FlashError) as caught:
            probe.flash([Segment(0x2000, bytes(3 * PAGE_BYTES))])
        assert_one_clear_line(caught.value, server.probe_id, "0x00003000", "1 of 12288 bytes", "try again")
        target.fail_programming_at = None
        assert probe.flash([Segment(0x2000, bytes(3 * PAGE_BYTES))]).programmed_bytes == PAGE_BYTES

    @pytest.mark.parametrize(
        "segment", [Segment(0xF_FFFC, bytes(8)), Segment(RAM_START, b"x"), Segment(0x3000_0000, b"x")]
    )
    def test_a_segment_outside_flash_is_refused_before_anything_is_erased(
        self, probe: Probe, target: FakeTarget, segment: Segment
    ) -> None:
        target.flash[:4] = b"keep"
        with pytest.raises(ImageError) as caught:
            probe.flash([Segment(0, b"code"), segment])
        assert_one_clear_line(caught.value, f"{segment.address:#010x}", "flash")
        assert target.flash[:4] == b"keep"

    def test_overlapping_segments_are_refused(self, probe: Probe) -> None:
        with pytest.raises(ImageError, match="overlap at 0x00000ffe"):
            probe.flash([Segment(0xFFE, b"image"), Segment(0, bytes(0xFFF))])

    def test_nothing_to_flash_is_fine(self, probe: Probe) -> None:
        report = probe.flash([])
        assert isinstance(report, FlashReport)
        assert (report.programmed_bytes, report.skipped_bytes) == (0, 0)


class TestControl:
    def test_halt_resume_reset(self, probe: Probe, target: FakeTarget) -> None:
        assert target.halted
        probe.resume()
        assert not target.halted
        probe.halt()
        assert target.halted
        probe.reset()
        assert not target.halted
        probe.reset_and_halt()
        assert target.halted
        assert target.resets == [False, True]

    def test_memory_at_any_alignment(self, probe: Probe, target: FakeTarget) -> None:
        probe.write_memory(RAM_START + 1, b"\x01\x02\x03\x04\x05\x06")
        for start in range(4):
            for size in range(9):
                address = RAM_START + start
                assert probe.read_memory(address, size) == target.read_memory(address, size)

    def test_memory_that_is_not_there_names_the_address(self, probe: Probe) -> None:
        with pytest.raises(ProbeError) as caught:
            probe.read_memory(0x3000_0000, 4)
        assert_one_clear_line(caught.value, "0x30000000", "refuses")
        assert probe.read_memory(RAM_START, 4) == bytes(4)

    def test_a_running_core_is_left_without_the_debugger(
        self, server: ProbeServer, target: FakeTarget
    ) -> None:
        """The firmware's cycle counter (TRCENA) survives, which pyOCD's own clean-up would stop."""
        with Probe(server.probe_id, CHIP) as probe:
            probe.reset()
            target.words[DEMCR] = TRCENA
        assert not target.halted
        assert target.words[DEMCR] == TRCENA

    def test_a_halted_core_stays_halted(self, server: ProbeServer, target: FakeTarget) -> None:
        with Probe(server.probe_id, CHIP) as probe:
            probe.reset_and_halt()
        assert target.halted

    def test_connecting_under_reset(self, server: ProbeServer, target: FakeTarget) -> None:
        with Probe(server.probe_id, CHIP, "under-reset"):
            assert target.resets == [True]
            assert target.halted

    def test_the_working_directory_is_neither_read_nor_changed(
        self, server: ProbeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "pyocd.yaml").write_text("not: [valid")
        (tmp_path / "pyocd_user.py").write_text("raise SystemExit('user script ran')")
        monkeypatch.chdir(tmp_path)
        with Probe(server.probe_id, CHIP):
            assert Path.cwd() == tmp_path

    def test_nothing_is_printed(
        self, server: ProbeServer, target: FakeTarget, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with Probe(server.probe_id, CHIP) as probe:
            probe.flash([Segment(0, b"code")])
        target.lock()
        with pytest.raises(ProbeError):
            Probe(server.probe_id, CHIP).open()
        assert capfd.readouterr() == ("", "")

    def test_a_closed_probe_says_so(self, server: ProbeServer) -> None:
        with pytest.raises(ProbeError, match="closed; open it first"):
            Probe(server.probe_id, CHIP).halt()


class TestLockedChip:
    def test_is_refused_and_not_erased(self, server: ProbeServer, target: FakeTarget) -> None:
        target.flash[:4] = b"keep"
        target.lock()
        with pytest.raises(ProbeError) as caught:
            Probe(server.probe_id, CHIP).open()
        assert_one_clear_line(caught.value, "locked", "fqtbench recover", "erasing")
        assert target.protected
        assert target.flash[:4] == b"keep"

    def test_recover_erases_and_unlocks_it(self, server: ProbeServer, target: FakeTarget) -> None:
        target.flash[:4] = b"code"
        target.lock()
        Probe(server.probe_id, CHIP).recover()
        assert not target.protected
        with Probe(server.probe_id, CHIP) as probe:
            assert probe.read_memory(0, 4) == b"\xff" * 4

    def test_recover_erases_an_unlocked_chip_too(self, probe: Probe, target: FakeTarget) -> None:
        target.flash[:4] = b"code"
        probe.recover()
        assert probe.read_memory(0, 4) == b"\xff" * 4

    @pytest.mark.parametrize("locked", [True, False])
    def test_recover_keeps_newer_revisions_unlocked(
        self, server: ProbeServer, target: FakeTarget, locked: bool
    ) -> None:
        """From build code F0 on, an erased UICR.APPROTECT means locked: 0x5A must be written there."""
        target.words[0x1000_0104] = int.from_bytes(b"AAF0", "big")
        if locked:
            target.lock()
        Probe(server.probe_id, CHIP).recover()
        assert target.words[0x1000_1208] == 0x5A


class TestFinding:
    def test_a_second_user_learns_who_holds_the_probe(self, probe: Probe, server: ProbeServer) -> None:
        with pytest.raises(ProbeError) as caught:
            Probe(server.probe_id, CHIP).open()
        assert_one_clear_line(caught.value, server.probe_id, "in use by 127.0.0.1:")
        probe.halt()

    def test_leaving_frees_the_probe(self, server: ProbeServer) -> None:
        for _ in range(3):
            with Probe(server.probe_id, CHIP):
                pass

    def test_an_error_while_connecting_frees_the_probe(self, server: ProbeServer, target: FakeTarget) -> None:
        target.lock()
        with pytest.raises(ProbeError):
            Probe(server.probe_id, CHIP).open()
        target.protected = False
        with Probe(server.probe_id, CHIP) as probe:
            probe.halt()

    def test_a_dead_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(ProbeError) as caught:
            Probe(f"remote:127.0.0.1:{port}", CHIP).open()
        assert_one_clear_line(caught.value, f"127.0.0.1:{port}", "no probe server answers", "running there?")

    @pytest.mark.parametrize(
        "probe_id", ["remote:", "remote:localhost", "remote:h:0", "remote:h:99999", "remote:h:x"]
    )
    def test_a_malformed_remote_id(self, probe_id: str) -> None:
        with pytest.raises(ProbeError, match="remote:HOST:PORT"):
            Probe(probe_id, CHIP).open()

    def test_ipv6_is_refused_by_name(self) -> None:
        with pytest.raises(ProbeError, match="IPv4 only"):
            Probe("remote:::1:5555", CHIP).open()

    def test_a_server_that_is_no_probe_server(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            def serve_mail() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10)
                    connection.sendall(b"220 smtp ready\r\n")

            server = threading.Thread(target=serve_mail)
            server.start()
            with pytest.raises(ProbeError) as caught:
                Probe(f"remote:127.0.0.1:{port}", CHIP).open()
            server.join(DEADLINE_S)
        assert_one_clear_line(caught.value, f"{port}")

    def test_a_chip_that_pyocd_does_not_know(self, server: ProbeServer) -> None:
        with pytest.raises(UsageError, match="pyocd_target"):
            Probe(server.probe_id, "no-such-chip").open()

    def test_an_unknown_connect_mode(self) -> None:
        with pytest.raises(UsageError, match="under-reset"):
            Probe("x", CHIP, "attach")

    def test_a_killed_server_fails_the_call_and_the_next_ones(self, tmp_path: Path) -> None:
        script = """
            import sys
            from fqtbench.virtual.probe_server import ProbeServer
            from tests.virtual.fake_target import FakeTarget
            server = ProbeServer(FakeTarget())
            print(server.probe_id, flush=True)
            while True:
                server.service(1.0)
        """
        root = Path(__file__).parents[1]
        board = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], cwd=root, stdout=subprocess.PIPE, text=True
        )
        try:
            assert board.stdout is not None
            probe = Probe(board.stdout.readline().strip(), CHIP)
            probe.open()
        finally:
            board.send_signal(signal.SIGKILL)
            board.communicate(timeout=DEADLINE_S)
        for _ in range(2):
            with pytest.raises(ProbeError) as caught:
                probe.read_memory(RAM_START, 4)
            assert_one_clear_line(caught.value, "lost", "server running")
        probe.close()


class _UsbProbe:
    """What pyOCD gives for a probe on USB, as far as finding one goes."""

    def __init__(self, unique_id: str) -> None:
        self.unique_id = unique_id
        self.description = f"J-Link {unique_id}"


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for the USB bus, which a test cannot plug probes into."""
    probes: list[Any] = []
    monkeypatch.setattr(ConnectHelper, "get_all_connected_probes", lambda **options: list(probes))
    return probes


class TestUsb:
    def test_no_probe(self, attached: list[Any]) -> None:
        with pytest.raises(ProbeError) as caught:
            Probe("683339521", CHIP).open()
        assert_one_clear_line(caught.value, "683339521", "not attached", "attached: none", "cable")

    def test_part_of_an_id_is_not_the_id(self, attached: list[Any]) -> None:
        attached += [_UsbProbe("683339521"), _UsbProbe("1683339521")]
        with pytest.raises(ProbeError) as caught:
            Probe("68333952", CHIP).open()
        assert_one_clear_line(caught.value, "not attached", "1683339521, 683339521")

    def test_two_probes_with_one_id(self, attached: list[Any]) -> None:
        attached += [_UsbProbe("000683339521"), _UsbProbe("683339521")]
        with pytest.raises(ProbeError) as caught:
            Probe("683339521", CHIP).open()
        assert_one_clear_line(caught.value, "2 probes have this id", "unplug")

    def test_listing(self, attached: list[Any]) -> None:
        attached += [_UsbProbe("22"), _UsbProbe("11")]
        assert list_probes() == [ProbeInfo("11", "J-Link 11"), ProbeInfo("22", "J-Link 22")]

    def test_two_probes_with_one_id_are_both_listed(self, attached: list[Any]) -> None:
        attached += [_UsbProbe("11"), _UsbProbe("11")]
        assert len(list_probes()) == 2

    @pytest.mark.parametrize(
        ("vidpid", "target"), [((0x0D28, 0x0204), "mimxrt1060"), ((0x1366, 0x1051), None)]
    )
    def test_a_daplinks_id_begins_with_its_boards(
        self, attached: list[Any], vidpid: tuple[int, int], target: str | None
    ) -> None:
        """Nothing is asked of the probe, which is not opened."""
        link = SimpleNamespace(
            vidpid=vidpid, get_unique_id=lambda: "0229000012345678", vendor_name="Arm", product_name="DAPLink"
        )
        attached.append(CMSISDAPProbe(link))
        assert list_probes() == [ProbeInfo("0229000012345678", "Arm DAPLink", target)]


def test_targets_that_pyocd_does_not_know() -> None:
    assert unknown_targets(["nrf52840", "no_such_chip", "rp2040_core0"]) == ["no_such_chip"]


def _elf(segments: list[tuple[int, int, bytes]], machine: int = 40, kind: int = 2, bits: int = 1) -> bytes:
    """Return an ELF file (System V gABI, chapters 4 and 5) of (virtual, physical address, data) segments."""
    offset = 52 + 32 * len(segments)
    head = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", kind, machine, 1, 0, 52, 0, 0, 52, 32, len(segments), 40, 0, 0)
    table, body = b"", b""
    for virtual, physical, data in segments:
        size = len(data)
        table += struct.pack("<8I", 1, offset + len(body), virtual, physical, size, size, 5, 4)
        body += data
    return head + table + body


class TestElf:
    def test_segments_lie_at_their_physical_addresses(self, tmp_path: Path) -> None:
        path = tmp_path / "firmware.elf"
        path.write_bytes(
            _elf([(0x2000_0000, 0x400, b"data"), (0, 0, b"code"), (0x2000_0100, 0x2000_0100, b"")])
        )
        assert elf_segments(path) == [Segment(0, b"code"), Segment(0x400, b"data")]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not an ELF"),
            (b"MZ" * 100, "not an ELF"),
            (_elf([(0, 0, b"code")])[:-1], "ends within"),
            (_elf([(0, 0, b"code")])[:60], "damaged"),
            (_elf([(0, 0, b"code")], machine=62), "ARM"),
            (_elf([(0, 0, b"code")], kind=1), "linked"),
            (_elf([]), "linked"),
            (_elf([(0, 0, b"code"), (9, 2, b"code")]), "overlap"),
            (_elf([(0, 0xFFFF_FFFE, b"code")]), "32-bit"),
            (_elf([(i, i, b"x") for i in range(100)]), "microcontroller"),
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "firmware.elf"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=message) as caught:
            elf_segments(path)
        assert_one_clear_line(caught.value, str(path))

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="cannot read"):
            elf_segments(tmp_path / "nothing.elf")

    @given(
        damage=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 255)), max_size=6),
        cut=st.integers(0, 140),
    )
    @settings(deadline=None, max_examples=300)
    def test_a_damaged_file_is_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
    ) -> None:
        content = bytearray(_elf([(0, 0, b"code" * 4), (0x100, 0x100, b"data" * 2)]))
        for at, value in damage:
            content[at] = value
        path = tmp_path_factory.mktemp("elf") / "damaged.elf"
        path.write_bytes(content[: len(content) - cut])
        try:
            segments = elf_segments(path)
        except ImageError as error:
            assert_one_clear_line(error, str(path))
        else:
            assert all(0 <= s.address <= 0xFFFF_FFFF and s.data for s in segments)
