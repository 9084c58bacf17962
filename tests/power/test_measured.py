"""Promise: energy by an instrument is that of the phases that the board timed, or there is none and it is said why."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.board import Supply, load_models
from fqtbench.errors import MonitorError
from fqtbench.power import Calibrated, Closable, Monitor, SupplySwitch, closing
from fqtbench.power.instrument import Chunk, Flag, Instrument
from fqtbench.power.measured import MeasuredMonitor, SupplyingMonitor
from fqtbench.power.recorder import Recorder
from fqtbench.power.trace import load
from fqtbench.power.verdict import TRIGGER_GAP_S
from tests.power.instruments import RATE_HZ, VOLTS, Memory, changed, durations_s, part, train_of_windows

MAIN_C = Path(__file__).resolve().parents[2] / "firmware" / "app" / "main.c"
_supply = load_models()["nrf52840"].supply
assert _supply is not None
SUPPLY: Supply = _supply
LENGTHS = [100, 250, 40]
GAP = 20
ENERGIES_J = np.array(LENGTHS) / RATE_HZ * 5e-3 * VOLTS


def measured(*streams: Chunk, lengths: list[int] | None = None, trigger: int = 0) -> np.ndarray:
    monitor = MeasuredMonitor(Memory(list(streams)), SUPPLY, trigger=trigger)
    for _ in streams:
        monitor.start()
        monitor.stop()
    return monitor.window_energies_j(durations_s(LENGTHS if lengths is None else lengths), "active")


def refused(stream: Chunk, lengths: list[int] | None = None, trigger: int = 0) -> str:
    with pytest.raises(MonitorError) as caught:
        measured(stream, lengths=lengths, trigger=trigger)
    assert str(caught.value).startswith("memory 1: ")
    return str(caught.value)


def test_it_is_what_the_bench_wants() -> None:
    instrument: Instrument = Memory([])
    monitor: Monitor = MeasuredMonitor(instrument, SUPPLY)
    assert (monitor.origin, monitor.model_id) == ("measured", "memory 1, calibrated")
    assert isinstance(monitor, Calibrated)
    assert isinstance(monitor, Closable)
    assert not isinstance(monitor, SupplySwitch)
    assert MeasuredMonitor(instrument, SUPPLY, origin="modelled").origin == "modelled"


def test_energies_are_those_of_the_windows_in_order_and_shape() -> None:
    monitor = MeasuredMonitor(Memory([train_of_windows(LENGTHS * 2)]), SUPPLY)
    monitor.start()
    monitor.stop()
    windows = monitor.windows(durations_s(LENGTHS * 2).reshape(2, 3))
    np.testing.assert_allclose(windows.energies_j, [ENERGIES_J, ENERGIES_J], rtol=1e-6)
    assert windows.uncertainties_j.shape == (2, 3)
    assert (windows.uncertainties_j < 5e-3 * VOLTS / RATE_HZ).all()
    assert windows.idle_w == pytest.approx(1e-3 * VOLTS, rel=1e-6)


@given(st.lists(st.lists(st.integers(30, 400), max_size=4), min_size=1, max_size=3), st.integers(1, 500))
@settings(deadline=None, max_examples=10)
def test_records_add_up_until_they_are_asked_for(records: list[list[int]], piece: int) -> None:
    monitor = MeasuredMonitor(Memory([train_of_windows(one) for one in records], piece=piece), SUPPLY)
    for _ in records:
        monitor.start()
        monitor.stop()
    every = [n for one in records for n in one]
    energies = monitor.window_energies_j(durations_s(every), "active")
    np.testing.assert_allclose(energies, np.array(every) / RATE_HZ * 5e-3 * VOLTS, rtol=1e-6)
    assert monitor.window_energies_j(np.empty(0), "active").shape == (0,)


def test_the_account_is_of_all_records() -> None:
    noisy = changed(train_of_windows(LENGTHS), slice(30, 33), flags=Flag.RANGE_SWITCH)
    lossy = changed(train_of_windows(LENGTHS), 5, flags=Flag.LOST, current_a=np.nan)
    monitor = MeasuredMonitor(Memory([noisy, lossy]), SUPPLY)
    for _ in range(2):
        monitor.start()
        monitor.stop()
        monitor.windows(durations_s(LENGTHS, clock_error=200e-6))
    account = monitor.account()
    assert (account.n_windows, account.n_lost, account.n_range_switches) == (6, 1, 3)
    assert account.n_samples == 2 * len(noisy)
    assert account.drift_ppm == pytest.approx(200, rel=1e-3)
    assert account.residual_s < 1e-8
    assert account.idle_w == pytest.approx(1e-3 * VOLTS, rel=1e-6)
    assert 0 < account.edge_uncertainty_rel < np.mean(1 / np.array(LENGTHS))


def test_an_account_of_nothing_has_figures_too() -> None:
    account = MeasuredMonitor(Memory([]), SUPPLY).account()
    assert (account.n_windows, account.drift_ppm, account.idle_w) == (0, 0.0, None)


def test_an_unwired_trigger_is_told() -> None:
    message = refused(train_of_windows([]))
    assert "0 windows on its input 0 for the 3 phases that the board timed; check the wire from" in message
    assert "input 2" in refused(train_of_windows(LENGTHS), trigger=2)


def test_a_lost_window_is_named_where_it_can_be_told() -> None:
    message = refused(train_of_windows([100, 40]))
    assert (
        "2 windows on its input 0 for the 3 phases that the board timed (number 2 of these is missing)"
        in message
    )


def test_a_window_too_many_is_named() -> None:
    assert "(number 2 of the windows is one too many); check the wire" in refused(
        train_of_windows([100, 60, 250, 40])
    )


def test_losses_are_told_before_wires() -> None:
    """A gap that was lost makes one window of two."""
    merged = changed(train_of_windows(LENGTHS), slice(115, 145), flags=Flag.LOST, current_a=np.nan, digital=0)
    message = refused(merged)
    assert "2 windows" in message
    assert "30 samples missing" in message
    assert "check the wire" not in message


def test_an_instrument_too_slow_for_the_gap_is_told() -> None:
    monitor = MeasuredMonitor(Memory([train_of_windows([390])], rate_hz=4000), SUPPLY)
    monitor.start()
    monitor.stop()
    with pytest.raises(
        MonitorError, match="at 4000 samples a second the 50 µs between two phases may not show"
    ):
        monitor.window_energies_j(durations_s(LENGTHS), "active")


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        (Flag.LOST, "samples never arrived"),
        (Flag.OVERCURRENT, "more than the instrument carries"),
        (Flag.SATURATED, "converter was at its end"),
        (Flag.WRONG_VOLTAGE, "supply was not as asked for"),
    ],
)
@pytest.mark.parametrize("at", [GAP + 100 + GAP - 1, GAP + 100 + GAP + 7, GAP + 100 + GAP + 250])
def test_a_window_with_an_unusable_sample_is_refused(flag: Flag, remedy: str, at: int) -> None:
    """Within it, or one beyond its edges."""
    current = np.nan if flag is Flag.LOST else None
    message = refused(changed(train_of_windows(LENGTHS), at, flags=flag, current_a=current))
    assert f"window 2 of 3 has samples flagged {flag.name}, so it has no energy; " in message
    assert remedy in message


def test_a_value_that_is_none_and_says_nothing_is_refused() -> None:
    message = refused(changed(train_of_windows(LENGTHS), GAP + 5, current_a=np.nan))
    assert "window 1 of 3 has samples without a value" in message


def test_range_switches_and_flags_between_windows_are_used() -> None:
    stream = changed(train_of_windows(LENGTHS), GAP + 5, flags=Flag.RANGE_SWITCH)
    stream = changed(stream, GAP // 2, flags=Flag.OVERCURRENT)
    np.testing.assert_allclose(measured(stream), ENERGIES_J, rtol=1e-6)


def test_a_window_of_one_sample_is_no_window() -> None:
    assert "window 2 of 3 has 1 sample: too short for 100000 samples a second, or a glitch" in refused(
        train_of_windows([100, 1, 40]), [100, 1, 40]
    )


def test_a_window_that_took_another_time_by_the_board_is_named() -> None:
    message = refused(train_of_windows([100, 290, 40, 400]), [100, 250, 40, 400])
    assert "window 2 of 4 took 0.0029 s by the instrument, 0.0025 s by the board (1 such windows)" in message


def test_an_input_that_is_always_high_is_told() -> None:
    high = changed(train_of_windows([]), slice(None), digital=1)
    assert "window 1 of 1 began before the record: the input 0 was high" in refused(high, [20])
    ends_high = part(train_of_windows([100]), 0, 60)
    assert "window 1 of 1 was not over with the record" in refused(ends_high, [40])


def test_a_failing_instrument_is_heard_of_at_once_and_ever_after() -> None:
    gone = MonitorError("memory 1: unplugged; plug it in")
    monitor = MeasuredMonitor(Memory([train_of_windows(LENGTHS)], fails=gone), SUPPLY)
    monitor.start()
    with pytest.raises(MonitorError, match="unplugged"):
        monitor.stop()
    with pytest.raises(MonitorError, match="unplugged"):
        monitor.window_energies_j(durations_s(LENGTHS), "active")
    with pytest.raises(MonitorError, match="unplugged"):
        monitor.start()
    monitor.stop()


def test_an_instrument_that_never_ends_is_told_within_the_deadline() -> None:
    recorder = Recorder(Memory([train_of_windows(LENGTHS)], endless=True), lambda chunk: None, deadline_s=0.5)
    recorder.start()
    with pytest.raises(MonitorError, match=r"has not ended 0\.5 s after the instrument was told to stop"):
        recorder.stop()


def test_a_failure_of_what_takes_the_samples_is_raised() -> None:
    def take(chunk: Chunk) -> None:
        raise ZeroDivisionError

    recorder = Recorder(Memory([train_of_windows([4000] * 50)]), take)
    recorder.start()
    with pytest.raises(ZeroDivisionError):
        recorder.stop()


def test_closing_ends_a_record_and_lets_go_whatever_happened() -> None:
    instrument = Memory([train_of_windows(LENGTHS)])
    monitor = MeasuredMonitor(instrument, SUPPLY)
    with pytest.raises(KeyError), closing(monitor):
        monitor.start()
        raise KeyError
    assert instrument.course == ["start", "stop", "close"]
    with closing(None):
        pass


def test_the_whole_trace_is_kept_if_asked_for(tmp_path: Path) -> None:
    streams = [train_of_windows(LENGTHS), train_of_windows([77])]
    monitor = MeasuredMonitor(Memory(list(streams)), SUPPLY, traces=tmp_path)
    for _ in streams:
        monitor.start()
        monitor.stop()
    for number, stream in enumerate(streams, 1):
        recording = load(tmp_path / f"record-{number}.parquet")
        assert (recording.name, recording.rate_hz, recording.volts) == ("memory 1", RATE_HZ, VOLTS)
        chunks = list(recording.chunks)
        assert np.concatenate([one.current_a for one in chunks]).tobytes() == stream.current_a.tobytes()


def test_a_trace_that_can_not_be_kept_fails_the_record(tmp_path: Path) -> None:
    monitor = MeasuredMonitor(Memory([train_of_windows(LENGTHS)]), SUPPLY, traces=tmp_path / "gone")
    monitor.start()
    with pytest.raises(MonitorError, match=r"its trace can't be written to .*gone"):
        monitor.stop()


def test_the_first_steps_are_kept_to_be_shown() -> None:
    monitor = MeasuredMonitor(Memory([train_of_windows(LENGTHS), train_of_windows([9] * 30)]), SUPPLY)
    assert monitor.excerpt() is None
    for _ in range(2):
        monitor.start()
        monitor.stop()
    excerpt = monitor.excerpt()
    assert excerpt is not None
    assert (excerpt.rate_hz, excerpt.volts) == (RATE_HZ, VOLTS)
    assert int(np.count_nonzero(excerpt.digital & 1)) == sum(LENGTHS)


def test_one_that_feeds_the_board_switches_it_on_and_cycles_its_power() -> None:
    instrument = Memory([])
    monitor = SupplyingMonitor(instrument, SUPPLY, off_s=0.0)
    assert isinstance(monitor, SupplySwitch)
    monitor.power_cycle()
    assert instrument.course == ["on", "off", "on"]


def test_a_board_is_not_switched_on_at_another_voltage_than_its_own() -> None:
    instrument = Memory([], volts=5.0)
    with pytest.raises(MonitorError, match="it is set to 5 V, the board's model asks for 3 V"):
        SupplyingMonitor(instrument, SUPPLY)
    assert instrument.course == []


def test_the_gap_is_the_firmwares() -> None:
    (gap_us,) = re.findall(r"#define TRIGGER_GAP_US (\d+)u", MAIN_C.read_text("utf-8"))
    assert pytest.approx(int(gap_us) * 1e-6) == TRIGGER_GAP_S
