"""Small programs for the virtual CPU: assembly, and the machine code it gives.

The machine code is kept so that a desk without a cross assembler runs the tests; where there is one,
test_cpu.py assembles the text again and compares.
"""

from dataclasses import dataclass
from typing import Final

CODE_ADDRESS: Final = 0x100


@dataclass(frozen=True)
class Program:
    """Code for address 0x100."""

    text: str
    code: bytes

    def flash(self, svc_handler: int = 0x40) -> bytes:
        """Return vectors (stack, reset to the code, every exception to a loop at 0x40) and code."""
        vectors = [0x20004000, CODE_ADDRESS | 1, *[0x41] * 14]
        vectors[11] = svc_handler | 1
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
