"""Promise: buffers that live at the same time never share a byte, and the bound beside the plan is one."""

from hypothesis import given
from hypothesis import strategies as st

from fqtbench.training.plan import Buffer, plan_memory


@st.composite
def _buffers(draw: st.DrawFn) -> list[Buffer]:
    n = draw(st.integers(1, 12))
    buffers = []
    for number in range(n):
        first = draw(st.integers(0, 10))
        buffers.append(Buffer(str(number), draw(st.integers(1, 5000)), first, draw(st.integers(first, 10))))
    return buffers


@given(_buffers())
def test_buffers_alive_together_don_t_overlap(buffers: list[Buffer]) -> None:
    plan = plan_memory(buffers)
    assert sorted(p.buffer.name for p in plan.placements) == sorted(b.name for b in buffers)
    for one in plan.placements:
        assert one.offset % 4 == 0
        assert one.end <= plan.peak_bytes
        for other in plan.placements:
            if one is not other and one.buffer.overlaps(other.buffer):
                assert one.end <= other.offset or other.end <= one.offset


@given(_buffers())
def test_the_peak_is_at_least_the_bound_and_at_most_no_sharing_at_all(buffers: list[Buffer]) -> None:
    plan = plan_memory(buffers)
    assert plan.lower_bound_bytes <= plan.peak_bytes <= sum(b.aligned_bytes for b in buffers)


@given(_buffers(), st.integers(1, 8000))
def test_each_region_keeps_its_buffers_apart_and_in_order_of_preference(
    buffers: list[Buffer], first: int
) -> None:
    plan = plan_memory(buffers, (first, 2**32))
    for one in plan.placements:
        assert one.region == 0 or one.buffer.anywhere
        for other in plan.placements:
            if one is not other and one.region == other.region and one.buffer.overlaps(other.buffer):
                assert one.end <= other.offset or other.end <= one.offset
    assert plan.region_peaks[0] <= first
    assert plan.missing_bytes == 0
    assert plan == plan_memory(buffers, (first, 2**32))


def test_what_must_lie_in_the_first_region_overruns_it_and_says_by_how_much() -> None:
    plan = plan_memory([Buffer("ring", 100, 0, 1, anywhere=False), Buffer("map", 50, 0, 1)], (80, 1000))
    assert (plan.find("ring").region, plan.find("map").region) == (0, 1)
    assert plan.missing_bytes == 20


def test_the_table_names_every_buffer_and_the_peak() -> None:
    plan = plan_memory([Buffer("one", 10, 0, 1), Buffer("two", 20, 2, 3)])
    assert "one" in plan.table()
    assert "two" in plan.table()
    assert "peak 20 bytes, lower bound 20 bytes" in plan.table()
    assert "forward 0:conv2d – backward 0:conv2d" in plan_memory([Buffer("x", 1, 0, 1)]).table(["0:conv2d"])
