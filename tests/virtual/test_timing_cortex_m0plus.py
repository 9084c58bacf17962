"""Promise: the M0+ model gives the cycles of Arm's table for every instruction that the firmware has.

Rows: ARM DDI 0484C (Cortex-M0+ Technical Reference Manual, r0p1), table 3-1, with the single-cycle multiplier that the
RP2040 has. A taken branch's second cycle is added when it is taken and not part of these prices.
"""

import capstone
import pytest

from fqtbench.paths import share
from fqtbench.virtual.timing import cortex_m0plus
from tests.firmware.elf_analysis import instructions
from tests.virtual.rows import assembled, base_mnemonic

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)

_SINGLE = """
movs r0, #1; mov r0, r1; mov r8, r0; adds r0, r1, #3; adds r0, r1, r2; add r8, r9; add sp, #8; add r0, sp, #8
adds r0, #200; adcs r0, r1; adr r0, .+4; subs r0, r1, r2; subs r0, r1, #3; subs r0, #200; sbcs r0, r1; sub sp, #8
rsbs r0, r1, #0; muls r0, r1; cmp r0, r1; cmn r0, r1; cmp r0, #3; cmp r8, r9; ands r0, r1; eors r0, r1; orrs r0, r1
bics r0, r1; mvns r0, r1; tst r0, r1; lsls r0, r1, #2; lsls r0, r1; lsrs r0, r1, #2; lsrs r0, r1; asrs r0, r1, #2
asrs r0, r1; rors r0, r1; sxth r0, r1; sxtb r0, r1; uxth r0, r1; uxtb r0, r1; rev r0, r1; rev16 r0, r1; revsh r0, r1
cpsid i; cpsie i; nop; .inst.n 0xbf00
""".replace("\n", ";")
_OTHERS = {
    "ldr r0, [r1]": 2, "ldr r0, [r1, r2]": 2, "ldr r0, .+4": 2, "ldr r0, [sp, #4]": 2, "ldrb r0, [r1]": 2,
    "ldrh r0, [r1]": 2, "ldrsb r0, [r1, r2]": 2, "ldrsh r0, [r1, r2]": 2,
    "str r0, [r1]": 2, "str r0, [r1, r2]": 2, "str r0, [sp, #4]": 2, "strb r0, [r1]": 2, "strh r0, [r1]": 2,
    "ldm r0!, {r1, r2, r3}": 1 + 3, "ldm r0, {r0, r1}": 1 + 2, "stm r0!, {r1, r2}": 1 + 2,
    "push {r0, r1}": 1 + 2, "push {r0, r1, lr}": 1 + 3, "pop {r0, r1}": 1 + 2,
    "mrs r0, primask": 3, "msr primask, r0": 3, "dmb": 3, "dsb": 3, "isb": 3, "wfi": 2,
    # Jumps: a cycle less than the table's, which is added when they are taken.
    "b .": 1, "beq .": 1, "bl .": 2, "bx lr": 1, "blx r0": 1, "mov pc, r3": 1, "add pc, r3": 1,
    "pop {r0, r1, pc}": 3 + 3 - 1,
    # No instruction shortens or lengthens another.
    "ldr r0, [r1]; ldr r2, [r0]": 4, "adds r1, #4; ldr r0, [r1]": 3, "muls r0, r1; muls r0, r2": 2,
}  # fmt: skip
_TAKEN_JUMPS = {
    "b .": 2,
    "bl .": 3,
    "bx lr": 2,
    "blx r0": 2,
    "mov pc, r3": 2,
    "add pc, r3": 2,
    "pop {pc}": 3 + 1,
}
_NEVER_COUNTED = {"svc", "bkpt", "udf"}  # exceptions: no number in the table


def _rows() -> list[tuple[str, int]]:
    return [(text.strip(), 1) for text in _SINGLE.split(";") if text.strip()] + list(_OTHERS.items())


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    texts = [text for text, _ in _rows()] + list(_TAKEN_JUMPS)
    return assembled(tmp_path_factory.mktemp("rows"), "cortex-m0plus", texts)


def test_every_row_has_the_tables_cycles(codes: list[bytes]) -> None:
    wrong = {}
    for (text, cycles), code in zip(_rows(), codes, strict=False):
        priced, instructions_priced = cortex_m0plus.price(code, 0)
        assert instructions_priced == text.count(";") + 1
        if priced != cycles:
            wrong[text] = (priced, cycles)
    assert not wrong


def test_a_taken_jump_has_the_tables_cycles(codes: list[bytes]) -> None:
    jumps = codes[len(_rows()) :]
    for (text, cycles), code in zip(_TAKEN_JUMPS.items(), jumps, strict=True):
        assert cortex_m0plus.price(code, 0)[0] + cortex_m0plus.TAKEN_CYCLES == cycles, text


def test_no_instruction_of_the_firmware_lacks_a_row(codes: list[bytes]) -> None:
    known = {base_mnemonic(i.mnemonic) for code in codes for i in _DECODER.disasm(code, 0)} | _NEVER_COUNTED
    (elf_path,) = share("firmware/prebuilt").glob("rp2040.elf")
    used = {base_mnemonic(i.mnemonic, frozenset(known)) for i in instructions(elf_path)}
    assert len(used) > 40
    assert used <= known, sorted(used - known)
