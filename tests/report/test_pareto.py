"""Promise: the Pareto front holds the runs that no other run beats, and only those."""

from hypothesis import given
from hypothesis import strategies as st

from fqtbench.report.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 8).map(float), st.integers(0, 8).map(float)), max_size=20)


def _beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@given(POINTS)
def test_the_front_is_what_no_point_beats(points: list[tuple[float, float]]) -> None:
    expected = {i for i, point in enumerate(points) if not any(_beats(other, point) for other in points)}
    front = pareto_front(points)
    assert set(front) == expected
    assert [points[i] for i in front] == sorted(points[i] for i in front)
