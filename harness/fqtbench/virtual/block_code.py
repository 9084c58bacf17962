"""The native hook that Unicorn calls at the start of each basic block: source code for Numba (native.py)."""

from typing import Any, Final

from llvmlite import ir
from numba import cfunc, extending, njit, types

from fqtbench.virtual.block_hook import (
    DEADLINE,
    FIELDS,
    NOW,
    PAGES,
    PAUSED,
    PREVIOUS_END,
    STOP_FUNCTION,
    STOPPED,
    STOPPED_AT,
    STOPPED_SIZE,
    TAKEN_CYCLES,
)
from fqtbench.virtual.memory import PAGE_BITS

SIGNATURE: Final = types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.int64))
_OFFSET: Final = (1 << PAGE_BITS) - 1


@extending.intrinsic  # type: ignore[untyped-decorator]
def _stop(_: Any, function: Any, engine: Any) -> Any:
    """Call int function(void *engine) at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        called = ir.FunctionType(ir.IntType(32), [arguments[1].type])
        return builder.call(builder.inttoptr(arguments[0], called.as_pointer()), arguments[1:])

    return types.int32(types.int64, types.voidptr), generate


@extending.intrinsic  # type: ignore[untyped-decorator]
def pointer(_: Any, address: Any) -> Any:
    """Return the int64 pointer to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@njit  # type: ignore[untyped-decorator]
def row_of(t: Any, a: Any) -> Any:
    """Return the index of an address's row; unsigned, so that it costs no check for a negative one."""
    return types.uint64(t[PAGES + (a >> types.uint64(PAGE_BITS))]) + (
        a & types.uint64(_OFFSET & ~1)
    ) * types.uint64(FIELDS // 2)


@cfunc(SIGNATURE)  # type: ignore[untyped-decorator]
def hook(engine: Any, address: int, size: int, t: Any) -> None:
    if t[PAUSED] != 0:
        return
    a = types.uint64(address)
    i = row_of(t, a)
    now, cycles = t[NOW], t[i]
    if now >= t[DEADLINE] or cycles == 0:
        t[STOPPED_AT] = types.int64(address)
        t[STOPPED_SIZE] = types.int64(size)
        t[STOPPED] = 1
        _stop(t[STOP_FUNCTION], engine)
        return
    if t[PREVIOUS_END] != types.int64(a):
        now += t[TAKEN_CYCLES]
        t[i + types.uint64(3)] += 1
    t[NOW] = now + cycles
    t[i + types.uint64(2)] += 1
    t[PREVIOUS_END] = types.int64(a) + types.int64(size)
