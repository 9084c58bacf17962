"""Promise: the M7 model gives the cycles that were measured on the chip, or that LLVM's model states, rule by rule.

[J]: measurements on an STM32H743, github.com/jnk0le/random, "pipeline cycle test/doc/cortex_m7.md". [L]: LLVM's
ARMScheduleM7.td. Arm publishes no table of this core.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import capstone
import pytest
from benchmarks.m7_as_llvm import steps
from benchmarks.m7_trace import RESULT as TRACE
from benchmarks.timing_m7 import MCA, load_result, mca

from fqtbench.paths import share
from fqtbench.virtual.timing import cortex_m7
from fqtbench.virtual.timing.cortex_m7_operations import is_known
from tests.firmware.elf_analysis import instructions
from tests.tools import require
from tests.virtual.rows import assembled

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True

# Text and the cycles in which it issues, from an empty pipeline.
_PAIRS = {
    # [J] "overall", "operand2"
    "eor r0, r1; eor r2, r3": 1,
    "eor r0, r1; eor r2, r0": 2,
    "nop; nop; nop; nop": 2,
    "movw r0, #1; movt r0, #2": 1,
    "add r0, r1, r2, lsl #3; sub r3, r4, r5": 1,
    "add r0, r1, r2, lsl #3; sub r3, r4, r5, lsl #3": 2,
    "add r0, r1, #0x1fc0; sub r3, r4, r5, lsl #3": 2,
    "addw r0, r1, #0xff9; sub r3, r4, r5, lsl #3": 1,
    "eor r0, r1, #0x1b1b1b1b; sub r3, r4, r5, lsl #3": 1,
    "add r0, r1, #0x1fc0; add r3, r4, #0x1fc0": 2,
    "lsl r0, r1, #2; lsl r2, r3, #2": 1,
    "lsl r0, r1, #2; add r2, r3, r4, lsl #2": 2,
    "add r2, r3, r4, lsl #2; lsl r0, r1, #2": 1,
    # [J] "bitfield and DSP instructions": not two, and only in the older slot
    "uxtb r0, r1; uxtb r2, r3": 2,
    "uxtb r0, r1; eor r2, r3": 1,
    "eor r2, r3; uxtb r0, r1": 2,
    "ubfx r0, r1, #2, #3; add r2, r3, r4, lsl #2": 2,
    "clz r0, r1; uadd8 r2, r3, r4": 2,
    # [J] "multiplication"
    "mul r0, r1, r2; mul r3, r4, r5": 2,
    "mul r0, r1, r2; str r3, [r4]": 2,
    "str r3, [r4]; smlad r0, r1, r2, r0": 2,
    "mul r0, r1, r2; ldr r3, [r4]": 1,
    "mul r0, r1, r2; eor r3, r4": 1,
    "uxtb16 r6, r7; smlad r0, r1, r2, r0": 1,
    "smlatb r0, r1, r2, r0; smlabt r3, r4, r5, r3": 2,
    "smlawb r0, r1, r2, r3; smlawt r4, r1, r2, r3": 2,
    "smlald r0, r1, r2, r3; ldr r4, [r5]": 1,
    "smmlar r0, r1, r2, r3; str r4, [r5]": 2,
    "smulbb r0, r1, r2; eor r3, r4": 1,
    "qadd16 r0, r1, r2; qsub16 r3, r4, r5": 2,
    "usat16 r0, #12, r1; eor r2, r3": 1,
    "eor r2, r3; usat16 r0, #12, r1": 2,
    # [J] "loads", "stores"
    "ldr r0, [r1]; ldr r2, [r1, #4]": 1,
    "ldr r0, [r1]; ldr r2, [r1, #8]": 2,
    "ldr r0, [r1], #4; ldr r2, [r3], #4": 1,
    "ldr r0, [r1]; str r2, [r3]": 1,
    "str r0, [r1]; str r2, [r3]": 2,
    # [J] "load/store pair/multiple": alone, two words a cycle
    "ldrd r0, r1, [r2]; eor r3, r4": 2,
    "eor r3, r4; strd r0, r1, [r2]": 2,
    "ldm r0, {r1, r2, r3}": 2,
    "ldm r0!, {r1, r2, r3, r4}": 2,
    "ldmdb r0, {r1, r2, r3}": 2,
    "stmdb r0, {r1, r2}": 1,
    "push {r4, r5, r6, r7, lr}": 3,
    "pop {r4, r5}": 1,
    "vpush {d8, d9}": 2,
    "vldmia r0!, {s0-s3}": 2,
    # [J] "branching": predicted, it waits for nothing
    "eor r0, r1; bne .": 1,
    "eor r0, r1; eor r2, r3; bne .": 2,
    "bne .": 1,
    "cmp r0, r1; bne .": 1,
    # [L]
    "tbb [pc, r0]": 2,
    "udiv r0, r1, r2": 7,
    "udiv r0, r1, r2; eor r3, r4": 8,
    "mrs r0, primask; eor r1, r2": 2,
    "cpsid i; eor r1, r2": 2,
    # [J] "fpu": two arithmetic ones don't pair; VDIV and VSQRT lock the pipeline but for one beside them
    "vadd.f32 s0, s1, s2; vadd.f32 s3, s4, s5": 2,
    "vadd.f32 s0, s1, s2; eor r0, r1": 1,
    "vadd.f32 s0, s1, s2; vldr s3, [r0]": 1,
    "vdiv.f32 s0, s1, s2; eor r0, r1": 16,
    "vsqrt.f32 s0, s1; eor r0, r1": 14,
    "vmov r0, r1, s0, s1; eor r2, r3": 2,
    "vldr d0, [r0]; eor r1, r2": 2,
}
# The same with the result of an instruction needed by another: cycles from the first's issue to the last's.
_LATENCIES = {
    # [J] "overall": what EX1 can do is there for EX2 of the same cycle, and for addresses in the next
    "add r0, r1, #1; eor r2, r0, r3": 0,
    "add r0, r1, #1; add r2, r0, r3": 0,
    "add r0, r1, #1; nop; ldr r2, [r0]": 1,
    "eor r0, r1; eor r2, r0": 1,
    "eor r0, r1; ldr r2, [r0]": 2,
    "ldr r0, [r1], #4; nop; ldr r2, [r1]": 1,
    # [J] "operand2": a shifted operand is needed a cycle early
    "eor r0, r1; add r2, r3, r0, lsl #2": 2,
    "eor r0, r1; add r2, r0, r3, lsl #2": 1,
    "adds r0, #1; adc r1, r2": 1,
    # [J] "bitfield": extraction needs its operand early; a result is an address two cycles behind
    "eor r0, r1; ubfx r2, r0, #1, #2": 2,
    "eor r0, r1; uxtb r2, r0": 1,
    "eor r0, r1; pkhbt r2, r0, r3": 1,
    "eor r0, r1; pkhbt r2, r3, r0": 2,
    "uxtb r0, r1; ldr r2, [r3, r0]": 2,
    # [L]
    "ldr r0, [r1]; mla r2, r3, r4, r0": 0,
    "usat r0, #8, r1; eor r2, r0": 2,
    "usat16 r0, #12, r1; eor r2, r0": 2,
    "qadd r0, r1, r2; eor r3, r0": 2,
    "qadd16 r0, r1, r2; qsub16 r3, r0, r4": 2,
    "usub8 r0, r1, r2; sel r3, r4, r5": 1,
    # [J] "multiplication": a cycle more than an addition, but for the chain
    "mul r0, r1, r2; eor r3, r0": 2,
    "mul r0, r1, r2; mul r3, r0, r1": 2,
    "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0": 1,
    "smlal r0, r1, r2, r3; smlal r0, r1, r4, r5": 1,
    "smlald r0, r1, r2, r3; smlald r0, r1, r4, r5": 1,
    "smlawb r0, r1, r2, r0; smlawt r0, r3, r4, r0": 1,
    "smmla r0, r1, r2, r0; smmlar r0, r3, r4, r0": 1,
    "smulbb r0, r1, r2; smlatb r3, r0, r4, r5": 2,
    "mla r0, r1, r2, r0; mla r0, r3, r4, r0": 1,
    "eor r3, r4; mla r0, r1, r2, r3": 0,
    # [J] "loads": a word in the next cycle, but not as a factor nor beside a shifted operand; a part a cycle later
    "ldr r0, [r1]; eor r2, r0": 1,
    "ldr r0, [r1]; mul r2, r0, r3": 2,
    "ldr r0, [r1]; add r2, r0, r3, lsl #2": 2,
    "ldr r0, [r1]; add r2, r3, r0, lsl #2": 2,
    "ldr r0, [r1]; ldr r2, [r0]": 2,
    "ldrb r0, [r1]; eor r2, r0": 2,
    "ldrsh r0, [r1]; ubfx r2, r0, #1, #2": 3,
    "ldrb r0, [r1]; mla r2, r3, r4, r0": 1,
    "ldrb r0, [r1]; mul r2, r0, r3": 2,
    # [J] "stores": any result of the same cycle
    "ldrb r0, [r1]; str r0, [r2]": 0,
    "eor r0, r1; str r0, [r2]": 0,
    "eor r1, r0; str r0, [r1]": 2,
    # [J] "fpu", its table of latencies
    "vadd.f32 s0, s1, s2; vmul.f32 s3, s0, s1": 3,
    "vmul.f32 s0, s1, s2; vstr s0, [r0]": 1,
    "vmla.f32 s0, s1, s2; vmul.f32 s3, s0, s1": 6,
    "vfma.f32 s0, s1, s2; vmul.f32 s3, s0, s1": 5,
    "vmla.f32 s0, s1, s2; vmla.f32 s0, s3, s4": 3,
    "vfma.f32 s0, s1, s2; vfma.f32 s0, s3, s4": 3,
    "vmla.f32 s0, s1, s2; vstr s0, [r0]": 4,
    "vldr s0, [r0]; vadd.f32 s1, s0, s2": 1,
    "vmov r0, s0; eor r1, r0": 1,
    "vmov s0, r0; vadd.f32 s1, s0, s2": 3,
    "vcvt.f32.s32 s0, s1; vadd.f32 s1, s0, s2": 3,
    "vdiv.f32 s0, s1, s2; vadd.f32 s1, s0, s2": 16,
    "vldmia r0, {d0}; vadd.f32 s2, s1, s3": 1,
    "vcmp.f32 s0, s1; vmrs APSR_nzcv, fpscr": 1,
}
# What llvm-mca has by the same rules, in steady state; no store, no post-index and no flags, which it has otherwise.
_LIKE_LLVM = (
    "eor r0, r1, r2; eor r3, r4, r5; eor r6, r7, r8; eor r9, r10, r11",
    "eor r0, r0, r1; eor r0, r0, r2",
    "ldr r0, [r9]; ldr r1, [r9, #4]; eor r2, r0, r3; eor r4, r1, r3",
    "ldr r9, [r9]",
    "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0",
    "mul r0, r1, r2; mul r0, r0, r3",
    "smlald r0, r1, r2, r3; smlald r0, r1, r4, r5",
    "smlawb r0, r1, r2, r0; smlawt r0, r3, r4, r0",
    "smmla r0, r1, r2, r0; smmlar r0, r3, r4, r0",
    "smulbb r0, r0, r1; smlatb r0, r1, r2, r0",
    "qadd16 r0, r0, r1; qsub16 r0, r0, r2",
    "uxtb16 r0, r1; uxtb16 r2, r3",
    "ubfx r0, r1, #1, #2; ubfx r1, r0, #1, #2",
    "vadd.f32 s0, s0, s1",
    "vmla.f32 s0, s1, s2",
    "vfma.f32 s0, s1, s2",
    "vmul.f32 s0, s0, s1; vldr s2, [r0]",
)


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    texts = [*_PAIRS, *_LATENCIES, *_LIKE_LLVM]
    return dict(
        zip(texts, assembled(tmp_path_factory.mktemp("m7"), "cortex-m7", texts, "fpv5-sp-d16"), strict=True)
    )


def _issues(code: bytes) -> list[int]:
    pipeline = cortex_m7.Pipeline()
    return [pipeline.issue(operation) for operation in cortex_m7.decode(code, 0)]


@pytest.mark.parametrize("text", _PAIRS)
def test_what_issues_together(text: str, codes: dict[str, bytes]) -> None:
    assert cortex_m7.price(codes[text], 0) == (_PAIRS[text], text.count(";") + 1)


@pytest.mark.parametrize("text", _LATENCIES)
def test_when_a_result_can_be_used(text: str, codes: dict[str, bytes]) -> None:
    issues = _issues(codes[text])
    assert issues[-1] - issues[0] == _LATENCIES[text]


@pytest.mark.parametrize("text", _LIKE_LLVM)
def test_llvm_mca_has_the_same_cycles(text: str, codes: dict[str, bytes]) -> None:
    require(MCA, "llvm-14")
    assert steps(list(_DECODER.disasm(codes[text], 0)))["ours"] == mca(
        [part.strip() for part in text.split(";")]
    )


@pytest.mark.parametrize(
    "loop", load_result()["loops"], ids=lambda loop: f"{loop['function']}-{loop['address']:x}"
)
def test_a_hot_loops_deviation_from_llvm_mca_is_explained(loop: dict[str, Any]) -> None:
    explained = loop["model_cycles"] + sum(loop["reasons"].values())
    assert explained == pytest.approx(loop["mca_cycles"], rel=0.1)
    require(MCA, "llvm-14")
    assert mca(loop["assembly"]) == loop["mca_cycles"]


def test_the_hot_loops_are_of_this_model() -> None:
    result = load_result()
    assert result["timing_model_id"] == cortex_m7.MODEL_ID
    assert len(result["loops"]) == 10


def test_the_model_states_no_less_than_what_it_can_not_know() -> None:
    result = json.loads(TRACE.read_text())
    assert result["timing_model_id"] == cortex_m7.MODEL_ID
    assert result["stated_per_cent"] == 100 * cortex_m7.UNCERTAINTY
    assert 0 < sum(abs(row["per_cent"]) for row in result["causes"]) <= result["stated_per_cent"]


def test_a_price_does_not_depend_on_what_was_priced_before(codes: dict[str, bytes]) -> None:
    forwards = [cortex_m7.price(code, 0) for code in codes.values()]
    assert [cortex_m7.price(code, 0) for code in reversed(codes.values())] == forwards[::-1]


def test_an_instruction_more_never_costs_less(codes: dict[str, bytes]) -> None:
    """So that time does not go back where a debugger cuts a block."""
    block = b"".join(code for text, code in codes.items() if "pc" not in text and "." not in text)
    starts = [0]
    for instruction in _DECODER.disasm(block, 0):
        starts.append(starts[-1] + instruction.size)
    prices = [cortex_m7.price(block[start:], start)[0] for start in starts[:-1]]
    assert len(prices) > 100
    assert all(longer >= shorter for longer, shorter in pairwise(prices))


def test_every_instruction_of_the_firmware_has_a_rule() -> None:
    names = {i.insn_name() for i in _with_detail(share("firmware/prebuilt") / "mimxrt1062.elf")}
    assert len(names) > 80
    assert [name for name in names if not is_known(name)] == []


def _with_detail(elf_path: Path) -> list[capstone.CsInsn]:
    return [found for i in instructions(elf_path) for found in _DECODER.disasm(bytes(i.bytes), i.address)]
