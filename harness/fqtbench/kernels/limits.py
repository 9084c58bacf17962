"""What no kernel on a core can go below, in cycles per multiply-accumulate (MAC) or per weight; the larger one binds.

Multiplications. Armv7E-M: one SMLAD makes two MACs of 16 bits. It takes a cycle on the M4 (TRM, ARM 100166, 3.3), and
the M7 issues one multiply-accumulate a cycle beside another instruction (docs/timing.md). Armv6-M: MULS takes a cycle
(TRM, ARM DDI 0484C, table 3-1) and leaves 32 bits: two products of 8 bits by 8 bits, and no more.

Memory. A word a cycle on the M4, for loads that follow one another, and on the M0+ by LDM, which takes 1 + N; an LDR by
itself takes 2 there, so kernels with single loads reach half of it. 64 bits a cycle on the M7's data TCM (TRM, ARM DDI
0489). What must be read assumes the register file: a block of a x b sums stays in registers, and each step of their
inner products reads a + b bytes. 14 registers hold the sums, the operands of the narrower side, one of the other and
two addresses. That an input byte serves overlapping windows is left out: with channels last, a word holds four of one
window. Gradients on their way to a weight, and steps, are bound by what they read and write for it.

The M0+ and the M4 issue one instruction a cycle, so both limits add up there, and what widens bytes to halfwords comes
on top: no kernel reaches 100 %. Kernels that skip zeros are given the limit of the errors that are not zero.
"""

from typing import Final, NamedTuple

from fqtbench.kernels.call import Kernel, Shape

_REGISTERS: Final = 14  # r0-r12 and LR
_ADDRESSES: Final = 2
_MEMORY_BYTES_PER_CYCLE: Final = {"cortex-m0plus": 4, "cortex-m4": 4, "cortex-m7": 8}
_MULTIPLY_CYCLES: Final = 0.5  # each core: two products by one multiplication
_SPARSE: Final = (Kernel.GRADIENT_SPARSE, Kernel.ERROR_SPARSE)

# Bytes for a weight: int32 sums are read; cells of the plane and residuals there and back, as weights are at a batch's
# end. At batch 1 a weight is touched only where its residual overflows.
_UPDATE_BYTES: Final = {
    Kernel.FOLD: 4 + 2 + 2,
    Kernel.STEP: 4 + 1 + 1,
    Kernel.SUM_CELLS: 2,
    Kernel.STEP_CELLS: 2 + 1 + 2 + 1,
    Kernel.FOLD_OUTER: 2 + 2,
    Kernel.STEP_OUTER: 1 + 1,
}
_UPDATE_MULTIPLICATIONS: Final = {Kernel.FOLD: 1.0, Kernel.STEP: 1.0, Kernel.STEP_CELLS: 1.0}


class Limit(NamedTuple):
    """Cycles per MAC or weight that multiplications and memory take at least."""

    multiply: float
    memory: float

    @property
    def cycles(self) -> float:
        """The one that binds."""
        return max(self)


def limit(core: str, kernel: Kernel, shape: Shape, density: int) -> Limit | None:
    """Return the kernel's bounds at `density` per cent of errors; None for float32."""
    per_cycle = _MEMORY_BYTES_PER_CYCLE[core]
    if kernel in _UPDATE_BYTES:
        multiplications = _UPDATE_MULTIPLICATIONS.get(kernel, _MULTIPLY_CYCLES)
        return Limit(multiplications, _UPDATE_BYTES[kernel] / per_cycle)
    sides = _sides(kernel, shape)
    if sides is None:
        return None
    share = density / 100 if _skips_zeros(kernel, shape) else 1.0
    return Limit(share * _MULTIPLY_CYCLES, share * least_bytes(*sides) / per_cycle)


def _skips_zeros(kernel: Kernel, shape: Shape) -> bool:
    """Whether errors of zero cost it nothing: the dense error kernel leaves them out on 1x1 maps, too."""
    return kernel in _SPARSE or (kernel is Kernel.ERROR_DENSE and shape.h * shape.w == 1)


def _sides(kernel: Kernel, shape: Shape) -> tuple[int, int] | None:
    """Return how many sums share an operand of one kind, and of the other."""
    filters, channels = shape.filters // shape.groups, shape.c // shape.groups
    if kernel is Kernel.FORWARD:
        return filters, shape.out[0] * shape.out[1]
    if kernel in (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_PLANAR, Kernel.GRADIENT_SPARSE):
        return filters, shape.taps
    if kernel in (Kernel.ERROR_DENSE, Kernel.ERROR_PLANAR, Kernel.ERROR_SPARSE):
        return channels, shape.h * shape.w
    return None


def least_bytes(n: int, m: int) -> float:
    """Return the bytes read per MAC by the best block of up to `n` x `m` sums that the registers hold."""
    room = _REGISTERS - _ADDRESSES - 1
    blocks = ((a, b) for a in range(1, room) for b in range(1, room) if a <= n and b <= m)
    return min((a + b) / (a * b) for a, b in blocks if a * b + min(a, b) <= room)
