"""Promise: the M4 model gives the cycles of Arm's tables for every instruction that the firmware has.

Rows: ARM 100166 (Cortex-M4 Technical Reference Manual, r0p1), tables 3-1 and 7-1 and section 3.3.2. A branch's refill
P, 1 to 3 there, is added when it is taken and not part of these prices; SDIV, UDIV (2 to 12) and MRS (1 or 2) are one
value.
"""

import capstone
import pytest

from fqtbench.paths import share
from fqtbench.virtual.timing import cortex_m4
from tests.firmware.elf_analysis import instructions
from tests.virtual.rows import assembled, base_mnemonic

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)

# Table 3-1: one cycle each, spelled as many times as the table has operands of its own kind.
_SINGLE = """
movs r0, #1; mov r0, r1; movw r0, #4660; mvn r0, r1; mvns r0, r1; add r0, r1, r2; adds r0, #1
addw r0, r1, #5; adc r0, r1, r2; adr r0, .+4; sub r0, r1, r2; subs r0, #1; subw r0, r1, #5; sbc r0, r1, r2
rsb r0, r1, #0; mul r0, r1, r2; mla r0, r1, r2, r3; mls r0, r1, r2, r3; smull r0, r1, r2, r3; umull r0, r1, r2, r3
smlal r0, r1, r2, r3; umlal r0, r1, r2, r3; ssat r0, #8, r1; usat r0, #8, r1; cmp r0, r1; cmn r0, r1
and r0, r1, r2; eor r0, r1, r2; orr r0, r1, r2; bic r0, r1, r2; tst r0, r1; lsl r0, r1, #2; lsr r0, r1, #2
asr r0, r1, #2; sxth r0, r1; sxtb r0, r1; uxth r0, r1; uxtb r0, r1; bfi r0, r1, #2, #3; ubfx r0, r1, #2, #3
sbfx r0, r1, #2, #3; clz r0, r1; nop; it eq; cpsid i; adcs r0, r1; sbcs r0, r1; eors r0, r1; orrs r0, r1
bics r0, r1; ands r0, r1; asrs r0, r1, #2; lsls r0, r1, #2; lsrs r0, r1, #2; muls r0, r1; rsbs r0, r1, #0
""".replace("\n", ";")
# Section 3.3.1, "Table of processor DSP instructions": one cycle each.
_DSP = """
sadd16 r0, r1, r2; ssub16 r0, r1, r2; usub8 r0, r1, r2; usada8 r0, r1, r2, r3; ssat16 r0, #12, r1
sel r0, r1, r2; smlad r0, r1, r2, r3; smlabb r0, r1, r2, r3; smlalbb r0, r1, r2, r3; smmulr r0, r1, r2
pkhbt r0, r1, r2, lsl #16; pkhtb r0, r1, r2, asr #16; uxtab16 r0, r1, r2; uxtah r0, r1, r2; uxtb16 r0, r1
qadd16 r0, r1, r2; qsub16 r0, r1, r2; usat16 r0, #12, r1; smulbb r0, r1, r2; smlabt r0, r1, r2, r3
sxtb16 r0, r1; smlatb r0, r1, r2, r3; smlawb r0, r1, r2, r3; smlawt r0, r1, r2, r3; smlald r0, r1, r2, r3
smmla r0, r1, r2, r3; smmlar r0, r1, r2, r3; qsub8 r0, r1, r2; ssub8 r0, r1, r2; usad8 r0, r1, r2
""".replace("\n", ";")
# Table 7-1: one cycle each.
_FLOAT = """
vadd.f32 s0, s1, s2; vsub.f32 s0, s1, s2; vmul.f32 s0, s1, s2; vnmul.f32 s0, s1, s2; vneg.f32 s0, s1
vcmp.f32 s0, s1; vcmpe.f32 s0, s1; vcvt.f32.s32 s0, s1; vcvt.f32.u32 s0, s1; vcvt.s32.f32 s0, s1
vcvt.u32.f32 s0, s1; vmov r0, s0; vmov.f32 s0, s1; vmrs APSR_nzcv, fpscr
""".replace("\n", ";")
# Anything else: text and cycles.
_OTHERS = {
    "ldr r0, [r1]": 2, "ldrb r0, [r1]": 2, "ldrh r0, [r1]": 2, "ldrsb r0, [r1]": 2, "ldrsh r0, [r1]": 2,
    "ldrd r0, r1, [r2]": 1 + 2, "strd r0, r1, [r2]": 1 + 2, "ldm r0, {r1, r2, r3}": 1 + 3, "stm r0, {r1, r2}": 1 + 2,
    "ldmdb r0, {r1, r2, r3}": 1 + 3, "stmdb r0, {r1, r2}": 1 + 2,
    "push {r0, r1, r2, lr}": 1 + 4, "pop {r0, r1}": 1 + 2, "vldr s0, [r0]": 2, "vstr s0, [r0]": 1,
    "vldmia r0, {s0-s3}": 1 + 4, "vstmia r0, {s0-s3}": 1 + 4, "vpush {d8, d9}": 1 + 2 * 2, "vpop {d8}": 1 + 2,
    "vmla.f32 s0, s1, s2": 3, "vmls.f32 s0, s1, s2": 3, "vnmls.f32 s0, s1, s2": 3,
    "vdiv.f32 s0, s1, s2": 14, "vsqrt.f32 s0, s1": 14, "udiv r0, r1, r2": 7, "mrs r0, primask": 2,
    "b .": 1, "beq .": 1, "bl .": 1, "blx r0": 1, "bx lr": 1, "cbz r0, .+4": 1, "cbnz r0, .+4": 1,
    "tbb [pc, r0]": 2, "tbh [pc, r0, lsl #1]": 2,
    # 3.3.2, load/store timings
    "str r0, [r1, #4]": 1, "strb r0, [r1]": 1, "strh r0, [r1]": 1, "str r0, [r1, r2]": 2,
    "ldr r0, [r1]; ldr r1, [r2]": 3, "ldr r0, [r1, r2]; str r0, [r3, #20]": 3, "ldr r0, [r1, r2]; str r1, [r3, r2]": 3,
    "ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]": 4, "ldr r0, [r1]; ldr r2, [r0]": 4,
    "str r0, [r1]; ldr r2, [r3]": 3, "ldrd r0, r1, [r2]; ldr r3, [r4]": 5,
    "adds r1, #4; ldr r0, [r1]": 4, "adds r1, #4; str r0, [r1]": 3, "add r2, r3; ldr r0, [r1, r2]": 4,
    "add r2, r3; ldm r2, {r4, r5}": 5, "add r2, r3; ldmdb r2, {r4, r5}": 5,
    "add r2, r3; ldrd r4, r5, [r2]": 5, "adds r2, #4; ldr r0, [r1]": 3,
    "adds r1, #4; nop; ldr r0, [r1]": 4, "cmp r1, #4; ldr r0, [r1]": 3,
}  # fmt: skip
_HINTS = {"dsb", "isb", "svc", "wfi"}  # B, B, exception entry, W: no number in the table


def _rows() -> list[tuple[str, int]]:
    single = [text.strip() for text in f"{_SINGLE};{_DSP};{_FLOAT}".split(";") if text.strip()]
    return [(text, 1) for text in single] + list(_OTHERS.items())


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return assembled(
        tmp_path_factory.mktemp("rows"), "cortex-m4", [text for text, _ in _rows()], "fpv4-sp-d16"
    )


def test_every_row_has_the_tables_cycles(codes: list[bytes]) -> None:
    wrong = {}
    for (text, cycles), code in zip(_rows(), codes, strict=True):
        priced, n = cortex_m4.price(code, 0)
        assert n == text.count(";") + 1
        if priced != cycles:
            wrong[text] = (priced, cycles)
    assert not wrong


def test_no_instruction_of_the_firmware_lacks_a_row(codes: list[bytes]) -> None:
    known = {base_mnemonic(i.mnemonic) for code in codes for i in _DECODER.disasm(code, 0)} | _HINTS
    (elf_path,) = share("firmware/prebuilt").glob("nrf52840.elf")
    used = {base_mnemonic(i.mnemonic, frozenset(known)) for i in instructions(elf_path)}
    assert len(used) > 80
    assert used <= known | {"it"}, sorted(used - known)
