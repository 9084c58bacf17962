"""Small programs for the virtual CPU: assembly, and the machine code it gives.

The machine code is kept so that a desk without a cross assembler runs the tests; where there is one,
test_cpu.py assembles the text again and compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CODE_ADDRESS: Final = 0x100

SVCALL, PENDSV, SYSTICK, UARTE0 = 11, 14, 15, 18  # exception numbers; UARTE0 is interrupt 2


@dataclass(frozen=True)
class Program:
    """Code for address 0x100."""

    text: str
    code: bytes

    def flash(self, handlers: Mapping[int, int] | None = None) -> bytes:
        """Return vectors (stack, reset to the code, other exceptions to `handlers` or a loop at 0x60) and code."""
        vectors = [0x20004000, CODE_ADDRESS | 1, *[0x61] * 22]
        for number, address in (handlers or {}).items():
            vectors[number] = address | 1
        loop = bytes.fromhex("fee7")  # b .
        table = b"".join(v.to_bytes(4, "little") for v in vectors)
        return (table + loop).ljust(CODE_ADDRESS, b"\xff") + self.code


# 20 000 turns of an inner loop with a load, a store and an unpredictable branch; then sleep.
LOOPS: Final = Program(
    """
        movw r0, #200
        movs r4, #0
        movw r6, #0x1000
        movt r6, #0x2000
    outer:
        movs r1, #100
    inner:
        adds r4, r4, r1
        eor r4, r4, r1, lsl #3
        str r4, [r6]
        ldr r5, [r6]
        tst r5, #1
        beq even
        adds r4, #7
    even:
        subs r1, #1
        bne inner
        subs r0, #1
        bne outer
        wfi
    end:
        b end
""",
    bytes.fromhex(
        "40f2c800002441f20006c2f200066421641884eac1043460356815f0010f00d007340139f4d10138f1d130bffee7"
    ),
)

# A load from where nothing answers.
FAULT: Final = Program(
    """
        movw r0, #0
        movt r0, #0x3000
        ldr r1, [r0]
    end:
        b end
""",
    bytes.fromhex("40f20000c3f200000168fee7"),
)

# A supervisor call; the handler lies at 0x10A.
SVC: Final = Program(
    """
        movs r0, #1
        svc #0
        adds r0, #4
    end:
        b end
        nop
    handler:
        adds r4, #2
        bx lr
""",
    bytes.fromhex("012000df0430fee700bf02347047"),
)

# A breakpoint instruction.
BKPT: Final = Program(
    """
        movs r0, #5
        bkpt #0
        movs r0, #6
    end:
        b end
""",
    bytes.fromhex("052000be0620fee7"),
)

# Three times: writes "movs r0, #1; bx lr" to RAM and calls it, then "bx lr" to the same place.
COPIES: Final = Program(
    """
        movs r4, #0
        movs r6, #3
        movw r0, #0
        movt r0, #0x2000
        orr r2, r0, #1
        movw r1, #0x2001
        movt r1, #0x4770
        movw r3, #0x4770
        movt r3, #0x4770
    turn:
        movw r0, #0
        movt r0, #0x2000
        str r1, [r0]
        blx r2
        add r4, r4, r0
        movw r0, #0
        movt r0, #0x2000
        str r3, [r0]
        movs r0, #16
        blx r2
        add r4, r4, r0
        subs r6, #1
        bne turn
        wfi
    end:
        b end
""",
    bytes.fromhex(
        "0024032640f20000c2f2000040f0010242f20101c4f2707144f27073c4f2707340f20000c2f2000001609047044440f2"
        "0000c2f200000360102090470444013eeed130bffee7"
    ),
)

# PendSV becomes pending while PRIMASK holds it back; r7 counts entries by CPSIE, r4 in all.
MASKED: Final = Program(
    """
        movw r6, #0xED04
        movt r6, #0xE000
        movs r4, #0
        cpsid i
        mov.w r5, #0x10000000
        str r5, [r6]
        movs r0, #100
    turn:
        subs r0, #1
        bne turn
        mov r7, r4
        cpsie i
        movs r0, #100
    again:
        subs r0, #1
        bne again
        wfi
    end:
        b end
    handler:
        adds r4, #1
        mov r8, r0
        bx lr
""",
    bytes.fromhex("4ef60456cef20006002472b64ff08055356064200138fdd1274662b664200138fdd130bffee7013480467047"),
)

# Five ticks of SysTick, 1000 cycles each, in sleep.
TICKS: Final = Program(
    """
        movw r6, #0xE010
        movt r6, #0xE000
        movs r4, #0
        movw r5, #999
        str r5, [r6, #4]
        movs r5, #7
        str r5, [r6]
    sleep:
        wfi
        cmp r4, #5
        bne sleep
        movs r5, #0
        str r5, [r6]
        wfi
    end:
        b end
    handler:
        adds r4, #1
        bx lr
""",
    bytes.fromhex("4ef21006cef20006002440f2e73575600725356030bf052cfcd10025356030bffee701347047"),
)

# A handler that uses the FPU while its caller does, on a stack that is not a multiple of 8.
FLOATS: Final = Program(
    """
        movw r1, #0xED88
        movt r1, #0xE000
        mov.w r2, #0xF00000
        str r2, [r1]
        sub sp, #4
        movs r0, #7
        vmov s0, r0
        svc #0
        vmov r5, s0
    end:
        b end
    handler:
        movs r1, #9
        vmov s0, r1
        bx lr
""",
    bytes.fromhex("4ef68851cef200014ff470020a6081b0072000ee100a00df10ee105afee7092100ee101a7047"),
)

# Interrupt 2, pended by software, pends PendSV in its handler; r4 is the order in which they go on.
NESTED: Final = Program(
    """
        movw r6, #0xED04
        movt r6, #0xE000
        movw r2, #0xE100
        movt r2, #0xE000
        movs r0, #4
        movs r4, #0
        str r0, [r2]
        str r0, [r2, #0x100]
        dsb
        isb
        wfi
    end:
        b end
    handler:
        mov.w r5, #0x10000000
        str r5, [r6]
        dsb
        isb
        lsls r4, r4, #4
        adds r4, #1
        bx lr
    pendsv:
        lsls r4, r4, #4
        adds r4, #2
        bx lr
""",
    bytes.fromhex(
        "4ef60456cef200064ef20012cef20002042000241060c2f80001bff34f8fbff36f8f30bffee74ff080553560bff34f8f"
        "bff36f8f240101347047240102347047"
    ),
)

# WFE and YIELD are hints: the program goes on.
EVENTS: Final = Program(
    """
        movs r4, #1
        wfe
        yield
        sev
        movs r4, #2
        wfi
    end:
        b end
""",
    bytes.fromhex("012420bf10bf40bf022430bffee7"),
)

# Calls: `work` (at 0x118) loops back to its first instruction, `outer` (0x120) calls `tail` (0x128), which ends in a
# jump to `other` (0x12A).
CALLS: Final = Program(
    """
        movs r4, #0
        movs r5, #0
    next:
        mov r1, r5
        bl work
        bl outer
        adds r5, #1
        cmp r5, #3
        bne next
        wfi
    end:
        b end
    work:
        adds r4, #1
        subs r1, #1
        bpl work
        bx lr
    outer:
        push {r4, lr}
        bl tail
        pop {r4, pc}
    tail:
        b other
    other:
        adds r4, #1
        bx lr
""",
    bytes.fromhex(
        "00240025294600f007f800f009f80135032df7d130bffee701340139fcd5704710b500f001f810bdffe701347047"
    ),
)

# Fills 64 KB with a store in an IT block, whose first store to a page makes the CPU look for it.
CONDITIONAL_STORES: Final = Program(
    """
        movs r0, #0x20
        lsls r0, r0, #24
        add r1, r0, #0x10000
        movs r4, #0
        movs r5, #0
    fill:
        adds r5, #1
        cmp r0, r1
        itte lo
        strlo r4, [r0], #4
        addlo r4, #1
        addhs r4, #0
        blo fill
        adds r4, #1
        wfi
    end:
        b end
""",
    bytes.fromhex("2020000600f5803100240025013588423abf40f8044b01340034f7d3013430bffee7"),
)
