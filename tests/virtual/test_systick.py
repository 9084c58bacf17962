"""Promise: SysTick, which computes its counter when asked, shows what a counter would that counts each cycle."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.virtual.schedule import NEVER, Schedule
from fqtbench.virtual.systick import CLKSOURCE, COUNTFLAG, CSR, CVR, ENABLE, RVR, TICKINT, SysTick


class Counter:
    """SysTick cycle by cycle (ARMv7-M ARM, B3.3)."""

    def __init__(self) -> None:
        self.enabled = self.interrupts = self.flag = False
        self.reload = self.value = self.ticks = 0

    def cycle(self) -> None:
        if not self.enabled:
            return
        if self.value == 0:
            self.value = self.reload
            return
        self.value -= 1
        if self.value == 0:
            self.flag = True
            self.ticks += self.interrupts

    def write(self, register: int, value: int) -> None:
        if register == CSR:
            self.enabled, self.interrupts = bool(value & ENABLE), bool(value & TICKINT)
        elif register == RVR:
            self.reload = value
        else:
            self.value, self.flag = 0, False

    def read(self, register: int) -> int:
        if register != CSR:
            return self.reload if register == RVR else self.value
        flag, self.flag = self.flag, False
        return ENABLE * self.enabled | TICKINT * self.interrupts | CLKSOURCE | COUNTFLAG * flag


_WRITES = st.one_of(
    st.tuples(st.just(CSR), st.sampled_from([0, ENABLE, ENABLE | TICKINT])),
    st.tuples(st.just(RVR), st.integers(0, 12)),
    st.tuples(st.just(CVR), st.just(0)),
)
_STEPS = st.lists(st.tuples(st.integers(1, 30), st.one_of(_WRITES, st.sampled_from([CSR, CVR]))), max_size=20)


@settings(max_examples=400, deadline=None)
@given(steps=_STEPS)
def test_it_counts_as_a_counter_would(steps: list[tuple[int, tuple[int, int] | int]]) -> None:
    now, ticks = 0, 0
    schedule, counter = Schedule(), Counter()

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    systick = SysTick(schedule, lambda: now, tick)
    for cycles, step in steps:
        for _ in range(cycles):
            now += 1
            counter.cycle()
            schedule.fire(now)
        if isinstance(step, int):
            assert systick.read(step) == counter.read(step)
        else:
            systick.write(*step)
            counter.write(*step)
        assert systick.read(CVR) == counter.value
        assert ticks == counter.ticks


def test_without_an_interrupt_it_schedules_nothing() -> None:
    schedule = Schedule()
    systick = SysTick(schedule, lambda: 0, lambda: None)
    systick.write(RVR, 0xFFFFFF)
    systick.write(CSR, ENABLE)
    assert schedule.next_at == NEVER
