"""The native hook that adds up charge (power_hook.py): source code for Numba (native.py)."""

from typing import Any

from numba import cfunc, njit, types

from fqtbench.virtual import block_hook as blocks
from fqtbench.virtual.block_code import SIGNATURE, pointer, row_of
from fqtbench.virtual.power_hook import (
    CHARGE,
    COUNTS_ADDRESS,
    CURRENTS_AT,
    ENOUGH_SAMPLES,
    IDLE,
    LAST_NOW,
    LAST_OUTSIDE,
    MAX_SAMPLES,
    N_SAMPLES,
    OVERFLOWED,
    PERIOD,
    POSITION,
    SAMPLES_AT,
    TICKS_PER_CYCLE,
)


@njit  # type: ignore[untyped-decorator]
def _close(t: Any, charge: int) -> None:
    n = t[N_SAMPLES]
    if n < MAX_SAMPLES:
        t[SAMPLES_AT + n] = charge
        t[N_SAMPLES] = n + 1
    else:
        t[OVERFLOWED] = 1


@njit  # type: ignore[untyped-decorator]
def _charge(t: Any, cycles: int, current: int) -> None:
    """Let `cycles` pass at `current`; negative ones are taken back."""
    ticks = cycles * t[TICKS_PER_CYCLE]
    period, position = t[PERIOD], t[POSITION]
    while position + ticks >= period:
        _close(t, t[CHARGE] + (period - position) * current)
        ticks -= period - position
        position = 0
        t[CHARGE] = 0
    t[CHARGE] += ticks * current
    t[POSITION] = position + ticks


@cfunc(SIGNATURE)  # type: ignore[untyped-decorator]
def hook(engine: Any, address: int, size: int, t: Any) -> None:
    counts = pointer(t[COUNTS_ADDRESS])
    if counts[blocks.PAUSED] != 0:
        return
    counted = types.int64(row_of(counts, types.uint64(address)))
    outside = counts[blocks.OUTSIDE] - t[LAST_OUTSIDE]
    cycles = counts[blocks.NOW] - t[LAST_NOW] - outside
    t[LAST_NOW] = counts[blocks.NOW]
    if outside != 0:
        t[LAST_OUTSIDE] = counts[blocks.OUTSIDE]
        _charge(t, outside, t[IDLE])
    _charge(t, cycles, t[CURRENTS_AT + (counted - blocks.ROWS) // blocks.FIELDS])
    if t[N_SAMPLES] >= ENOUGH_SAMPLES:
        counts[blocks.DEADLINE] = 0
