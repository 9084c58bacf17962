"""Promise: a trace is cut at the trigger's edges and nowhere else, however it arrives, within a stated uncertainty."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.instrument import UNUSABLE, Chunk, Flag
from fqtbench.power.windows import WINDOW, TableOfWindows, WindowCutter

RATE_HZ = 1000.0
VOLTS = 3.0


def stream(
    levels: Sequence[int], current_a: Sequence[float] | None = None, flags: Sequence[int] | None = None
) -> Chunk:
    n = len(levels)
    current = np.ones(n) if current_a is None else np.asarray(current_a)
    return Chunk(
        0,
        current.astype(np.float32),
        np.array(levels, np.uint8),
        np.array([0] * n if flags is None else flags, np.uint8),
    )


def pieces(whole: Chunk, cuts: Sequence[int]) -> Iterator[Chunk]:
    bounds = [0, *sorted(cuts), len(whole)]
    for begin, end in pairwise(bounds):
        part = slice(begin, end)
        volts = None if whole.volts is None else whole.volts[part]
        yield Chunk(begin, whole.current_a[part], whole.digital[part], whole.flags[part], volts)


def cut(
    whole: Chunk, cuts: Sequence[int] = (), *, trigger: int = 0, spin_s: float = 0.0
) -> tuple[TableOfWindows, WindowCutter]:
    cutter = WindowCutter(RATE_HZ, VOLTS, trigger, spin_s)
    tables = [cutter.feed(piece) for piece in pieces(whole, cuts)]
    return np.concatenate([*tables, cutter.finish()]), cutter


def by_hand(whole: Chunk, spin: int) -> tuple[list[tuple[object, ...]], float, int]:
    """Return the windows and the idle sum by plain loops: the definition."""
    n = len(whole)
    levels: list[bool] = []
    for digital, flags in zip(whole.digital, whole.flags, strict=True):
        lost = bool(flags & Flag.LOST)
        levels.append((bool(levels) and levels[-1]) if lost else bool(digital & 1))
    power = [float(np.float64(current) * VOLTS) for current in whole.current_a]
    windows: list[tuple[object, ...]] = []
    begin = 0
    for end in range(1, n + 1):
        if end < n and levels[end] == levels[begin]:
            continue
        if levels[begin]:
            known = begin > 0 and end < n
            energy = 0.0
            for k in range(begin, end):
                energy += power[k]
            flags = 0
            for k in range(max(begin - 1, 0), min(end + 1, n)):
                flags |= int(whole.flags[k])
            around = [power[k] for k in (begin - 1, begin, end - 1, end)] if known else [np.nan]
            uncertainty = np.sqrt(sum(p * p for p in around) / 6) / RATE_HZ
            windows.append(
                (begin, end, energy / RATE_HZ, uncertainty, flags, known, around if known else np.nan)
            )
        begin = end
    high = [k for k in range(n) if levels[k]]
    total, count = 0.0, 0
    for k in range(n):
        before, behind = [h for h in high if h < k], [h for h in high if h > k]
        if levels[k] or not before or not behind or k - before[-1] <= 2 + spin or behind[0] - k <= 2:
            continue
        if np.isfinite(power[k]) and not whole.flags[k] & UNUSABLE:
            total, count = total + power[k], count + 1
    return windows, total, count


@st.composite
def streams(draw: st.DrawFn) -> Chunk:
    runs = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    first = draw(st.booleans())
    levels = np.concatenate([[(first + i) % 2] * n for i, n in enumerate(runs)]).astype(np.uint8)
    n = len(levels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    flags = np.where(rng.random(n) < draw(st.sampled_from([0, 0.1])), rng.integers(0, 32, n), 0).astype(
        np.uint8
    )
    current = np.where(flags & Flag.LOST, np.nan, rng.lognormal(-5, 2, n)).astype(np.float32)
    return Chunk(0, current, levels | rng.integers(0, 128, n, np.uint8) << np.uint8(1), flags)


@given(streams(), st.data(), st.sampled_from([0, 1, 4]))
@settings(deadline=None)
def test_windows_are_those_of_the_definition_however_the_stream_is_cut(
    whole: Chunk, data: st.DataObject, spin: int
) -> None:
    """To the last bit, energies included: every sum runs from the left."""
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20))
    table, cutter = cut(whole, cuts, spin_s=spin / RATE_HZ)
    in_one, as_one = cut(whole, spin_s=spin / RATE_HZ)
    assert table.tobytes() == in_one.tobytes()
    assert (cutter.idle_sum_w, cutter.idle_samples) == (as_one.idle_sum_w, as_one.idle_samples)
    windows, idle_w, idle_samples = by_hand(whole, spin)
    expected = np.array(windows, WINDOW)
    for field in ("begin", "end", "flags", "whole"):
        assert table[field].tolist() == expected[field].tolist()
    for field in ("energy_j", "uncertainty_j"):
        np.testing.assert_allclose(table[field], expected[field], rtol=1e-12)
    known = expected["whole"]
    assert table["edges_w"][known].tobytes() == expected["edges_w"][known].tobytes()
    assert cutter.idle_samples == idle_samples
    assert cutter.idle_sum_w == pytest.approx(idle_w, rel=1e-9)


def test_energy_is_the_sum_of_current_times_voltage_times_period() -> None:
    table, _ = cut(stream([0, 0, 1, 1, 1, 0, 0], [9, 9, 1, 2, 3, 9, 9]))
    assert table["energy_j"].tolist() == [6 * VOLTS / RATE_HZ]
    assert (table["begin"].tolist(), table["end"].tolist()) == ([2], [5])


def test_a_voltage_of_each_sample_goes_before_the_one_for_all() -> None:
    whole = stream([0, 1, 1, 0])
    with_volts = Chunk(0, whole.current_a, whole.digital, whole.flags, np.array([0, 1.5, 2.5, 0], np.float32))
    assert cut(with_volts, [2])[0]["energy_j"].tolist() == [4.0 / RATE_HZ]


def test_a_trace_without_a_voltage_has_no_energy() -> None:
    with pytest.raises(UsageError, match="--volts"):
        WindowCutter(RATE_HZ, None).feed(stream([0, 1]))


def test_the_trigger_may_be_another_input() -> None:
    table, _ = cut(stream([1, 1, 9, 9, 1, 0]), trigger=3)
    assert table[["begin", "end"]].tolist() == [(2, 4)]


def test_a_glitch_is_reported_as_the_short_window_that_it_is() -> None:
    assert cut(stream([0, 0, 1, 0, 0]))[0][["begin", "end"]].tolist() == [(2, 3)]


def test_a_window_that_the_trace_begins_or_ends_in_is_not_whole() -> None:
    table, _ = cut(stream([1, 1, 0, 1, 1, 0, 1]))
    assert table["whole"].tolist() == [False, True, False]


def test_a_lost_sample_splits_no_window_and_leaves_it_without_energy() -> None:
    """Drivers don't know the level of a sample that never came."""
    whole = stream(
        [0, 0, 1, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, np.nan, 1, 1, 1, 1], [0, 0, 0, 0, Flag.LOST, 0, 0, 0, 0]
    )
    (window,) = cut(whole, [4, 5])[0]
    assert (window["begin"], window["end"], window["flags"]) == (2, 7, Flag.LOST)
    assert np.isnan(window["energy_j"])


@pytest.mark.parametrize(("at", "seen"), [(0, 0), (1, 4), (4, 4), (5, 4), (6, 0)])
def test_flags_count_up_to_one_sample_beyond_the_edges(at: int, seen: int) -> None:
    flags = [0] * 8
    flags[at] = Flag.SATURATED
    assert cut(stream([0, 0, 1, 1, 1, 0, 0, 0], flags=flags))[0]["flags"].tolist() == [seen]


def test_the_idle_level_keeps_away_from_edges_and_from_what_is_not_between_windows() -> None:
    levels = [0] * 6 + [1] * 3 + [0] * 7 + [1] * 3 + [0] * 9
    current = [50.0] * 9 + [10, 10, 1, 2, 3, 10, 10] + [50.0] * 12
    _, cutter = cut(stream(levels, current))
    assert (cutter.idle_samples, cutter.idle_w) == (3, 2 * VOLTS)
    _, spinning = cut(stream(levels, current), spin_s=1 / RATE_HZ)
    assert (spinning.idle_samples, spinning.idle_w) == (2, 2.5 * VOLTS)
    assert cut(stream([0, 1, 1, 0]))[1].idle_w is None


def test_the_uncertainty_is_what_windows_are_off_by() -> None:
    """Simulated: a box of power whose edges, and the instants of the converter and of the logic, fall anywhere."""
    rng = np.random.default_rng(8)
    period_s, power_w, n = 1e-3, 2.0, 2000
    errors, claimed = np.empty(n), np.empty(n)
    for i in range(n):
        rise, fall = 3 + rng.random(), 10 + 3 * rng.random()
        logic_at = rng.random()
        numbers = np.arange(20)
        share: NDArray[np.float64] = np.clip(np.minimum(numbers + 1, fall) - np.maximum(numbers, rise), 0, 1)
        levels = (numbers + logic_at >= rise) & (numbers + logic_at < fall)
        chunk = Chunk(
            0, (share * power_w).astype(np.float32), levels.astype(np.uint8), np.zeros(20, np.uint8)
        )
        cutter = WindowCutter(1 / period_s, 1.0)
        (window,) = cutter.feed(chunk)
        errors[i] = window["energy_j"] - (fall - rise) * power_w * period_s
        claimed[i] = window["uncertainty_j"]
    assert (np.abs(errors) <= np.sqrt(12) * claimed).all()
    assert np.sqrt(np.mean(errors**2)) <= np.sqrt(np.mean(claimed**2))


def test_samples_that_are_not_the_next_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="from 7 on, after 0"):
        WindowCutter(RATE_HZ, VOLTS).feed(Chunk(7, *(stream([0]).current_a,), *(np.zeros(1, np.uint8),) * 2))
