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


def test_the_table_names_every_buffer_and_the_peak() -> None:
    plan = plan_memory([Buffer("one", 10, 0, 1), Buffer("two", 20, 2, 3)])
    assert "one" in plan.table()
    assert "two" in plan.table()
    assert "peak 20 bytes, lower bound 20 bytes" in plan.table()
