"""Promise: Otii's voltage and events of the input lie at the samples of current to which they belong."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.otii_streams import OtiiStreams

RATE_HZ = 4000
N = 400
CURRENT_A = np.linspace(1e-3, 2e-3, N, dtype=np.float32)
VOLTS = np.linspace(2.9, 3.1, N // 4, dtype=np.float32)
EVENTS = [3, 50, 51, 200, 399]  # the first sample of each new level


def filled(streams: OtiiStreams) -> OtiiStreams:
    """Return it with everything pushed."""
    streams.push_current(CURRENT_A)
    streams.push_voltage(0.0, 1e-3, VOLTS)
    for number, event in enumerate(EVENTS):
        streams.push_event(event / RATE_HZ, number % 2 == 0)
    return streams


@given(untils=st.lists(st.floats(0, N / RATE_HZ), max_size=10))
def test_samples_are_the_same_however_they_are_taken(untils: list[float]) -> None:
    streams = filled(OtiiStreams(RATE_HZ, 3.0, level=0))
    chunks: list[Chunk] = []
    for until_s in [*sorted(untils), None]:
        chunks += streams.take(until_s)
    assert [chunk.first for chunk in chunks] == np.cumsum([0, *map(len, chunks)])[:-1].tolist()
    np.testing.assert_array_equal(np.concatenate([chunk.current_a for chunk in chunks]), CURRENT_A)
    volts = np.concatenate([chunk.volts for chunk in chunks if chunk.volts is not None])
    np.testing.assert_array_equal(volts, np.repeat(VOLTS, 4))
    level = np.searchsorted(EVENTS, np.arange(N), side="right") % 2
    np.testing.assert_array_equal(np.concatenate([chunk.digital for chunk in chunks]), level)
    assert not any(chunk.flags.any() for chunk in chunks)


def test_a_sample_waits_for_its_voltage_until_the_recording_has_ended() -> None:
    streams = OtiiStreams(RATE_HZ, 3.0, level=1)
    streams.push_current(CURRENT_A)
    assert streams.take(1.0) == []
    streams.push_voltage(0.0, 1e-3, VOLTS[:10])
    assert [len(chunk) for chunk in streams.take(1.0)] == [40]
    (rest,) = streams.take(None)
    assert len(rest) == N - 40 and rest.digital.all() and rest.volts is not None
    assert (rest.volts == VOLTS[9]).all()


def test_a_sample_that_is_not_there_is_lost_and_a_supply_that_sags_is_wrong() -> None:
    streams = OtiiStreams(RATE_HZ, 3.0, level=0)
    streams.push_current(np.array([1e-3, np.nan, 1e-3, 1e-3], dtype=np.float32).repeat(4))
    streams.push_voltage(0.0, 1e-3, np.array([3.0, 3.0, 2.5, 3.1], dtype=np.float32))
    (chunk,) = streams.take(None)
    assert chunk.flags.tolist() == [0] * 4 + [Flag.LOST] * 4 + [Flag.WRONG_VOLTAGE] * 4 + [0] * 4
