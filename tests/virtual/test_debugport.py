"""The debug port answers register by register as an nRF52840's does."""

import struct

import pytest

from fqtbench.virtual.debug_components import (
    AIRCR,
    C_DEBUGEN,
    C_HALT,
    C_STEP,
    DCRDR,
    DCRSR,
    DCRSR_WRITE,
    DEMCR,
    DEMCR_TRCENA,
    DEMCR_VC_CORERESET,
    DFSR,
    DFSR_HALTED,
    DFSR_VCATCH,
    DHCSR,
    DHCSR_DBGKEY,
    DWT_CTRL,
    FP_COMP0,
    FP_CTRL,
    FP_CTRL_ENABLE,
    FP_CTRL_KEY,
    ROM_TABLE,
    S_HALT,
    S_LOCKUP,
    S_REGRDY,
    S_RESET_ST,
)
from fqtbench.virtual.debugport import (
    ABORT_STKERRCLR,
    AP_BASE,
    AP_BD0,
    AP_CSW,
    AP_DRW,
    AP_IDR,
    AP_TAR,
    APPROTECT_DISABLED,
    APPROTECT_ENABLED,
    CSW_ADDRINC_PACKED,
    CSW_ADDRINC_SINGLE,
    CSW_DEVICEEN,
    CTRL_AP_APPROTECTSTATUS,
    CTRL_AP_ERASEALL,
    CTRL_AP_RESET,
    CTRL_CDBGPWRUPACK,
    CTRL_CDBGPWRUPREQ,
    CTRL_CSYSPWRUPACK,
    CTRL_CSYSPWRUPREQ,
    CTRL_STICKYERR,
    DP_ABORT,
    DP_CTRL_STAT,
    DP_DPIDR,
    DP_RDBUFF,
    DP_SELECT,
    DebugPort,
    TransferFault,
)
from tests.virtual.fake_target import DFSR_BKPT, RAM_BYTES, RAM_START, FakeTarget

SIZE_8, SIZE_16, SIZE_32 = 0, 1, 2
KEY = DHCSR_DBGKEY << 16


class Debugger:
    """Transfers as a probe makes them: SELECT first, then the register by A[3:2]."""

    def __init__(self, port: DebugPort) -> None:
        self.port = port
        port.write_dp(DP_CTRL_STAT, CTRL_CDBGPWRUPREQ | CTRL_CSYSPWRUPREQ)

    def read(self, register: int, ap: int = 0) -> int:
        self.port.write_dp(DP_SELECT, ap << 24 | register & 0xF0)
        return self.port.read_ap(register & 0xC)

    def write(self, register: int, value: int, ap: int = 0) -> None:
        self.port.write_dp(DP_SELECT, ap << 24 | register & 0xF0)
        self.port.write_ap(register & 0xC, value)

    def peek(self, address: int) -> int:
        self.write(AP_CSW, SIZE_32)
        self.write(AP_TAR, address)
        return self.read(AP_DRW)

    def poke(self, address: int, value: int) -> None:
        self.write(AP_CSW, SIZE_32)
        self.write(AP_TAR, address)
        self.write(AP_DRW, value)


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def debugger(target: FakeTarget) -> Debugger:
    return Debugger(DebugPort(target))


class TestDebugPort:
    def test_identifies_itself_as_the_sw_dp_of_a_cortex_m4(self, target: FakeTarget) -> None:
        assert DebugPort(target).read_dp(DP_DPIDR) == 0x2BA0_1477

    def test_acknowledges_the_power_that_is_requested(self, target: FakeTarget) -> None:
        port = DebugPort(target)
        assert port.read_dp(DP_CTRL_STAT) == 0
        port.write_dp(DP_CTRL_STAT, CTRL_CDBGPWRUPREQ)
        assert port.read_dp(DP_CTRL_STAT) == CTRL_CDBGPWRUPREQ | CTRL_CDBGPWRUPACK
        port.write_dp(DP_CTRL_STAT, CTRL_CDBGPWRUPREQ | CTRL_CSYSPWRUPREQ)
        assert port.read_dp(DP_CTRL_STAT) & CTRL_CSYSPWRUPACK

    def test_without_debug_power_an_access_port_faults(self, target: FakeTarget) -> None:
        with pytest.raises(TransferFault, match="power"):
            DebugPort(target).read_ap(AP_CSW)

    def test_a_failed_transfer_blocks_the_next_until_abort_clears_it(self, debugger: Debugger) -> None:
        with pytest.raises(TransferFault, match="0x30000000"):
            debugger.peek(0x3000_0000)
        assert debugger.port.read_dp(DP_CTRL_STAT) & CTRL_STICKYERR
        with pytest.raises(TransferFault, match="STICKYERR"):
            debugger.port.read_ap(AP_CSW)
        debugger.port.write_dp(DP_ABORT, ABORT_STKERRCLR)
        assert not debugger.port.read_dp(DP_CTRL_STAT) & CTRL_STICKYERR
        assert debugger.read(AP_IDR) == 0x2477_0011

    def test_rdbuff_repeats_the_last_access_port_read(self, debugger: Debugger) -> None:
        assert debugger.read(AP_IDR) == debugger.port.read_dp(DP_RDBUFF) == 0x2477_0011

    def test_ports_that_the_chip_has_not_read_as_zero(self, debugger: Debugger) -> None:
        assert debugger.read(AP_IDR, ap=2) == 0
        debugger.write(AP_TAR, 1, ap=2)
        assert debugger.read(AP_TAR) == 0

    def test_block_memory_transfers_leave_the_registers_alone(self, debugger: Debugger) -> None:
        debugger.write(AP_TAR, RAM_START + 8)
        debugger.port.write_memory(RAM_START, b"abcdef")
        assert debugger.port.read_memory(RAM_START, 6) == b"abcdef"
        assert debugger.read(AP_TAR) == RAM_START + 8
        with pytest.raises(TransferFault):
            debugger.port.read_memory(0x3000_0000, 4)
        assert not debugger.port.read_dp(DP_CTRL_STAT) & CTRL_STICKYERR


class TestMemoryAccessPort:
    def test_points_to_the_rom_table(self, debugger: Debugger) -> None:
        assert debugger.read(AP_BASE) == ROM_TABLE | 3

    @pytest.mark.parametrize("address", range(RAM_START, RAM_START + 4))
    def test_bytes_travel_on_the_lane_of_their_address(
        self, debugger: Debugger, target: FakeTarget, address: int
    ) -> None:
        lane = 8 * (address & 3)
        debugger.write(AP_CSW, SIZE_8)
        debugger.write(AP_TAR, address)
        debugger.write(AP_DRW, 0x5A << lane)
        assert target.read_memory(address, 1) == b"\x5a"
        assert debugger.read(AP_DRW) == 0x5A << lane

    def test_halfwords_step_the_address_by_two(self, debugger: Debugger, target: FakeTarget) -> None:
        target.write_memory(RAM_START, bytes.fromhex("01020304"))
        debugger.write(AP_CSW, CSW_ADDRINC_SINGLE | SIZE_16)
        debugger.write(AP_TAR, RAM_START)
        assert [debugger.read(AP_DRW), debugger.read(AP_DRW)] == [0x0201, 0x0403_0000]
        assert debugger.read(AP_TAR) == RAM_START + 4

    def test_packed_bytes_fill_a_whole_word(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.write(AP_CSW, CSW_ADDRINC_PACKED | SIZE_8)
        debugger.write(AP_TAR, RAM_START)
        debugger.write(AP_DRW, 0x0403_0201)
        assert target.read_memory(RAM_START, 4) == bytes.fromhex("01020304")
        debugger.write(AP_TAR, RAM_START)
        assert debugger.read(AP_DRW) == 0x0403_0201

    def test_without_increment_the_address_stays(self, debugger: Debugger) -> None:
        debugger.poke(RAM_START, 1)
        debugger.write(AP_DRW, 2)
        assert debugger.peek(RAM_START) == 2

    def test_a_block_is_the_same_as_its_single_transfers(self, debugger: Debugger) -> None:
        words = list(range(100, 200))
        debugger.write(AP_CSW, CSW_ADDRINC_SINGLE | SIZE_32)
        debugger.write(AP_TAR, RAM_START)
        debugger.port.write_ap_block(AP_DRW, words)
        assert debugger.read(AP_TAR) == RAM_START + 400
        debugger.write(AP_TAR, RAM_START)
        singles = [debugger.read(AP_DRW) for _ in words]
        debugger.write(AP_TAR, RAM_START)
        assert debugger.port.read_ap_block(AP_DRW, len(words)) == singles == words

    def test_the_address_wraps_within_4_kb(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.write(AP_CSW, CSW_ADDRINC_SINGLE | SIZE_32)
        debugger.write(AP_TAR, RAM_START + 0x1FFC)
        debugger.port.write_ap_block(AP_DRW, [1, 2])
        assert target.read_memory(RAM_START + 0x1FFC, 4) == struct.pack("<I", 1)
        assert target.read_memory(RAM_START + 0x1000, 4) == struct.pack("<I", 2)

    def test_banked_registers_reach_four_words(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.write(AP_TAR, RAM_START + 0x14)
        for index in range(4):
            debugger.write(AP_BD0 + 4 * index, 10 + index)
        assert target.read_memory(RAM_START + 0x10, 16) == struct.pack("<4I", 10, 11, 12, 13)
        assert debugger.read(AP_BD0 + 8) == 12

    def test_a_block_beyond_memory_faults(self, debugger: Debugger) -> None:
        debugger.write(AP_CSW, CSW_ADDRINC_SINGLE | SIZE_32)
        debugger.write(AP_TAR, RAM_START + RAM_BYTES)
        with pytest.raises(TransferFault):
            debugger.port.write_ap_block(AP_DRW, [1, 2, 3])

    def test_sizes_beyond_a_word_read_back_as_a_word(self, debugger: Debugger) -> None:
        debugger.write(AP_CSW, 5)
        assert debugger.read(AP_CSW) & 7 == SIZE_32


class TestProtection:
    def test_a_locked_chip_gives_no_access_to_memory_or_core(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        assert debugger.read(AP_CSW) & CSW_DEVICEEN
        target.lock()
        assert not debugger.read(AP_CSW) & CSW_DEVICEEN
        assert debugger.read(AP_IDR) == 0x2477_0011
        assert debugger.read(CTRL_AP_APPROTECTSTATUS, ap=1) == APPROTECT_ENABLED
        for access in (lambda: debugger.peek(DHCSR), lambda: debugger.port.read_memory(0, 4)):
            with pytest.raises(TransferFault, match="APPROTECT"):
                access()
        assert not target.halted

    def test_erasing_all_and_a_reset_unlock_it(self, debugger: Debugger, target: FakeTarget) -> None:
        target.flash[:4] = b"code"
        target.lock()
        debugger.write(CTRL_AP_ERASEALL, 1, ap=1)
        debugger.write(CTRL_AP_RESET, 1, ap=1)
        debugger.write(CTRL_AP_RESET, 0, ap=1)
        assert debugger.read(CTRL_AP_APPROTECTSTATUS, ap=1) == APPROTECT_DISABLED
        assert debugger.peek(0) == 0xFFFF_FFFF
        assert not target.halted

    def test_the_control_port_is_nordics(self, debugger: Debugger) -> None:
        assert debugger.read(AP_IDR, ap=1) & 0x0FFF_FFFF == 0x0288_0000


class TestCoreDebug:
    def test_the_rom_table_lists_what_is_there(self, debugger: Debugger) -> None:
        entries = [debugger.peek(ROM_TABLE + 4 * i) for i in range(7)]
        present = [(ROM_TABLE + (e & 0xFFFF_F000)) & 0xFFFF_FFFF for e in entries if e & 1]
        assert present == [0xE000_E000, 0xE000_1000, 0xE000_2000]
        assert entries[6] == 0

    def test_halt_and_resume(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        assert target.halted
        assert debugger.peek(DHCSR) & (S_HALT | S_REGRDY | C_DEBUGEN) == S_HALT | S_REGRDY | C_DEBUGEN
        assert debugger.peek(DFSR) == DFSR_HALTED
        debugger.poke(DHCSR, KEY | C_DEBUGEN)
        assert not target.halted
        assert not debugger.peek(DHCSR) & S_HALT

    def test_a_write_without_the_key_does_nothing(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, C_DEBUGEN | C_HALT)
        assert not target.halted

    def test_without_debugen_there_is_no_halt(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, KEY | C_HALT)
        assert not target.halted

    def test_switching_debug_off_lets_the_core_run(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        debugger.poke(DHCSR, KEY)
        assert not target.halted

    def test_a_step_is_one_instruction(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_STEP)
        assert (target.steps, target.halted) == (1, True)

    def test_registers_go_through_dcrdr(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        debugger.poke(DCRDR, 0x1234_5678)
        debugger.poke(DCRSR, DCRSR_WRITE | 95)
        assert target.registers[95] == 0x1234_5678
        debugger.poke(DCRDR, 0)
        debugger.poke(DCRSR, 95)
        assert debugger.peek(DCRDR) == 0x1234_5678

    def test_registers_of_a_running_core_are_out_of_reach(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.poke(DCRDR, 7)
        debugger.poke(DCRSR, DCRSR_WRITE | 0)
        assert 0 not in target.registers

    def test_halt_reasons_clear_by_writing_one(self, debugger: Debugger, target: FakeTarget) -> None:
        target.halt_reason = DFSR_BKPT | DFSR_HALTED
        debugger.poke(DFSR, DFSR_HALTED)
        assert debugger.peek(DFSR) == DFSR_BKPT

    def test_lockup_shows_until_the_core_halts(self, debugger: Debugger, target: FakeTarget) -> None:
        target.locked_up = True
        assert debugger.peek(DHCSR) & S_LOCKUP
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        assert debugger.peek(DHCSR) & (S_LOCKUP | S_HALT) == S_HALT

    def test_trcena_belongs_to_the_core_vector_catch_to_the_debugger(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.poke(DEMCR, DEMCR_TRCENA | DEMCR_VC_CORERESET)
        assert target.words[DEMCR] == DEMCR_TRCENA
        target.words[DEMCR] = 0
        assert debugger.peek(DEMCR) == DEMCR_VC_CORERESET

    def test_watchpoints_are_not_announced(self, debugger: Debugger, target: FakeTarget) -> None:
        assert target.words[DWT_CTRL] >> 28 == 4
        assert debugger.peek(DWT_CTRL) >> 28 == 0


class TestResets:
    def test_sysresetreq_runs_on_or_stops_by_vector_catch(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN)
        debugger.poke(AIRCR, 0x05FA_0004)
        debugger.poke(DEMCR, DEMCR_VC_CORERESET)
        debugger.poke(AIRCR, 0x05FA_0004)
        assert target.resets == [False, True]
        assert target.halted

    def test_a_wrong_key_resets_nothing(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(AIRCR, 0xFA05_0004)
        assert target.resets == []

    def test_a_reset_shows_once(self, debugger: Debugger) -> None:
        debugger.peek(DHCSR)
        assert not debugger.peek(DHCSR) & S_RESET_ST
        debugger.poke(AIRCR, 0x05FA_0004)
        assert debugger.peek(DHCSR) & S_RESET_ST
        assert not debugger.peek(DHCSR) & S_RESET_ST

    def test_a_system_reset_spares_breakpoints_a_pin_reset_does_not(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.poke(FP_COMP0, 0x4000_0101)
        debugger.poke(FP_CTRL, FP_CTRL_KEY | FP_CTRL_ENABLE)
        debugger.poke(AIRCR, 0x05FA_0004)
        assert target.breakpoints == {0x100}
        debugger.port.assert_reset(True)
        debugger.port.assert_reset(False)
        assert target.breakpoints == frozenset()
        assert not target.halted

    def test_connecting_under_reset_stops_before_the_first_instruction(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.port.assert_reset(True)
        assert debugger.peek(DHCSR) & (S_RESET_ST | S_HALT) == S_RESET_ST
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        debugger.poke(DEMCR, DEMCR_VC_CORERESET)
        debugger.port.assert_reset(False)
        assert debugger.peek(DHCSR) & S_HALT
        assert debugger.peek(DFSR) == DFSR_VCATCH
        assert target.halted

    def test_a_pin_reset_by_itself_leaves_no_halt_reason(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        debugger.poke(DHCSR, KEY | C_DEBUGEN | C_HALT)
        debugger.port.assert_reset(True)
        debugger.port.assert_reset(False)
        assert debugger.peek(DFSR) == 0
        assert not target.halted


class TestBreakpoints:
    @pytest.mark.parametrize(
        ("comparator", "addresses"),
        [
            (0x4000_0101, {0x100}),
            (0x8000_0101, {0x102}),
            (0xC000_0101, {0x100, 0x102}),
            (0x4000_0100, set()),
            (0x0000_0101, set()),
        ],
    )
    def test_replace_selects_the_halfword(
        self, debugger: Debugger, target: FakeTarget, comparator: int, addresses: set[int]
    ) -> None:
        debugger.poke(FP_CTRL, FP_CTRL_KEY | FP_CTRL_ENABLE)
        debugger.poke(FP_COMP0 + 4 * 5, comparator)
        assert target.breakpoints == addresses

    def test_the_unit_announces_six_and_can_be_switched_off(
        self, debugger: Debugger, target: FakeTarget
    ) -> None:
        assert debugger.peek(FP_CTRL) == 0x260
        debugger.poke(FP_COMP0, 0x4000_0101)
        assert target.breakpoints == frozenset()
        debugger.poke(FP_CTRL, FP_CTRL_KEY | FP_CTRL_ENABLE)
        assert target.breakpoints == {0x100}
        debugger.poke(FP_CTRL, FP_CTRL_KEY)
        assert target.breakpoints == frozenset()

    def test_literal_comparators_stop_nothing(self, debugger: Debugger, target: FakeTarget) -> None:
        debugger.poke(FP_CTRL, FP_CTRL_KEY | FP_CTRL_ENABLE)
        debugger.poke(FP_COMP0 + 4 * 6, 0x4000_0101)
        assert target.breakpoints == frozenset()
