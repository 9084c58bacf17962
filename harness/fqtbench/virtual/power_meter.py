"""The charge that a chip draws, by a model, cut into the samples of an instrument, from its making until `close`.

It costs time only while it is there: its native hook is called for each block.
"""

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual import block_hook as blocks
from fqtbench.virtual import native
from fqtbench.virtual import power_hook as hook
from fqtbench.virtual.chip import Chip
from fqtbench.virtual.memory import PAGE_BITS
from fqtbench.virtual.power_model import PowerModel

_MAX_DENOMINATOR: Final = 10_000  # of a rate in Hz
_NA: Final = 1e-9
_CHARGE_LIMIT: Final = 1 << 62


class ChargeMeter:
    """Charges `chip` with what `model` says, `rate_hz` samples a second of virtual time.

    A chip has one meter at most. The CPU must not run while a method does, but for a register access. ValueError for a
    rate with which numbers would overflow, or samples be shorter than a cycle.
    """

    def __init__(self, chip: Chip, model: PowerModel, clock_hz: int, rate_hz: float) -> None:
        rate = Fraction(rate_hz).limit_denominator(_MAX_DENOMINATOR)
        period = Fraction(clock_hz) / rate if rate > 0 else Fraction(0)
        if period < 1 or period.numerator * model.active_na * 2 > _CHARGE_LIMIT:
            raise ValueError(f"{rate_hz} samples a second can't be taken of a clock of {clock_hz} Hz")
        self._chip, self._model, self._clock_hz = chip, model, clock_hz
        self._counts = chip.cpu.table
        self.began: Final = chip.now
        self.period_ticks: Final = period.numerator
        self.ticks_per_cycle: Final = period.denominator
        self._table = np.zeros(hook.CURRENTS_AT + chip.memory.n_rows(), np.int64)
        self._table[hook.COUNTS_ADDRESS] = self._counts.ctypes.data
        self._table[hook.LAST_NOW] = self._counts[blocks.NOW]
        self._table[hook.LAST_OUTSIDE] = self._counts[blocks.OUTSIDE]
        self._table[hook.TICKS_PER_CYCLE] = self.ticks_per_cycle
        self._table[hook.PERIOD] = self.period_ticks
        self._table[hook.IDLE] = model.idle_na
        self._pages = chip.memory.pages()
        self._closed: list[NDArray[np.int64]] = []  # whole samples that nobody has taken, in nA·ticks
        self._closed_total = 0  # of all whole samples ever
        chip.cpu.on_price(self._weigh)
        chip.on_pause = self.settle
        self._handle: int | None = blocks.install(chip.cpu.engine, self._table, native.address(native.POWER))

    def close(self) -> None:
        """Measure no more; what has been is still to be taken."""
        if self._handle is None:
            return
        self.settle()
        blocks.remove(self._chip.cpu.engine, self._handle)
        self._handle = None
        self._chip.cpu.on_price(None)
        self._chip.on_pause = None

    def settle(self) -> None:
        """Charge what no block has been charged with yet, up to now: time asleep, and a debugger's steps."""
        if self._handle is None:
            return
        self._empty()
        now, outside = int(self._counts[blocks.NOW]), int(self._counts[blocks.OUTSIDE])
        asleep = outside - int(self._table[hook.LAST_OUTSIDE])
        awake = now - int(self._table[hook.LAST_NOW]) - asleep
        if asleep:
            self._charge(asleep, self._model.idle_na)
        if awake:
            self._charge(awake, self._model.active_na)
        self._table[hook.LAST_NOW], self._table[hook.LAST_OUTSIDE] = now, outside

    def take_a(self) -> NDArray[np.float64]:
        """Return the mean currents of the whole samples since the last call, (n,) in A."""
        self.settle()
        closed, self._closed = self._closed, []
        if not closed:
            return np.empty(0)
        return np.concatenate(closed).astype(np.float64) * (_NA / self.period_ticks)

    def charge_c(self) -> float:
        """Return the charge since the beginning in coulombs: the model's own integral, without any samples' limits."""
        self.settle()
        total = self._closed_total + int(self._table[hook.CHARGE])
        return total * _NA / (self.ticks_per_cycle * self._clock_hz)

    def unfinished_c(self) -> float:
        """Return that part of it which belongs to the sample that has begun."""
        self.settle()
        return int(self._table[hook.CHARGE]) * _NA / (self.ticks_per_cycle * self._clock_hz)

    def first_sample_at(self, cycle: int) -> int:
        """Return the number of the first sample whose middle is not before `cycle`."""
        ticks = (cycle - self.began) * self.ticks_per_cycle
        return -((self.period_ticks - 2 * ticks) // (2 * self.period_ticks))

    def _weigh(self, address: int, code: bytes) -> None:
        row = self._pages[address >> PAGE_BITS] + (address % (1 << PAGE_BITS) >> 1)
        self._table[hook.CURRENTS_AT + row] = self._model.block_na(code)

    def _empty(self) -> None:
        """Take the samples that the native hook has closed."""
        n = int(self._table[hook.N_SAMPLES])
        if self._table[hook.OVERFLOWED]:
            raise RuntimeError("the power hook has closed more samples than it has room for")
        if n:
            samples = self._table[hook.SAMPLES_AT : hook.SAMPLES_AT + n].copy()
            self._table[hook.N_SAMPLES] = 0
            self._closed.append(samples)
            self._closed_total += sum(samples.tolist())  # a sum of int64 might not hold it

    def _charge(self, cycles: int, current_na: int) -> None:
        """Let time pass outside blocks; as the native hook does it, but for any number of samples."""
        position = int(self._table[hook.POSITION]) + cycles * self.ticks_per_cycle
        charge = int(self._table[hook.CHARGE])
        n, rest = divmod(position, self.period_ticks)
        if n > 0:
            samples = np.full(n, self.period_ticks * current_na, np.int64)
            samples[0] = charge + (self.period_ticks - int(self._table[hook.POSITION])) * current_na
            self._closed.append(samples)
            self._closed_total += int(samples[0]) + (n - 1) * self.period_ticks * current_na
            self._table[hook.POSITION], self._table[hook.CHARGE] = rest, rest * current_na
        else:
            self._table[hook.POSITION] = position
            self._table[hook.CHARGE] = charge + cycles * self.ticks_per_cycle * current_na
