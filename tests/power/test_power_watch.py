"""Promise: who looks at a board's power sees every sample once, and is told the truth about the trigger's wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fqtbench.bench import power_watch
from fqtbench.bench.job import PowerJob
from fqtbench.bench.power_watch import EVALUATIONS, judge, watch_power
from fqtbench.board import load_models
from fqtbench.errors import LinkError, MonitorError, UsageError
from fqtbench.power import Excerpting, Measuring, Sampling, trace
from fqtbench.power.excerpt import Excerpt
from fqtbench.power.instrument import Flag
from fqtbench.power.measured import MeasuredMonitor
from fqtbench.power.tap import Tap
from tests.power import recorded_run
from tests.power.measuring import excerpt_of
from tests.power.played import PlayedInstrument, quiet

MODEL = load_models()["nrf52840"]


class Monitor:
    """A monitor whose samples may be looked at."""

    origin = "measured"
    model_id = "player 7"
    trigger = 0

    def __init__(self, instrument: PlayedInstrument) -> None:
        self.instrument = instrument


class Board:
    """A device that raises `windows_each` windows for an evaluation, through the instrument that is wired to it."""

    problem: str | None = None
    windows_each = 1

    def __init__(self, instrument: PlayedInstrument) -> None:
        self._instrument = instrument
        self.image_problem, self.sample_bytes = self.problem, 4

    def hello(self) -> "Board":
        return self

    def evaluate(self, samples: list[tuple[bytes, int]]) -> Iterator[int]:
        for data, _ in samples:
            assert data == bytes(4)
            self._instrument.play(excerpt_of([40] * self.windows_each, [5e-3] * self.windows_each))
            yield 0


def watch(
    monkeypatch: pytest.MonkeyPatch, device: type[Board], job: PowerJob, begins: Excerpt
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], PlayedInstrument]:
    """Return the events by kind, the sights in order, and the instrument."""
    instrument = PlayedInstrument(begins)
    events: list[dict[str, Any]] = []

    @contextmanager
    def line() -> Iterator[PlayedInstrument]:
        yield instrument

    monkeypatch.setattr(power_watch, "Device", device)
    watch_power(Monitor(instrument), job, MODEL, line, events.append)  # type: ignore[arg-type]
    return {e["event"]: e for e in events}, [e for e in events if e["event"] == "power_sight"], instrument


def test_a_wired_trigger_is_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    job = PowerJob(seconds=0.3)
    for windows_each, verdict in ((1, "wired"), (0, "silent"), (2, "wrong")):
        device = type("Wired", (Board,), {"windows_each": windows_each})
        seen, _, instrument = watch(monkeypatch, device, job, quiet(100))
        assert seen["wiring"]["verdict"] == verdict
        assert seen["wiring"]["windows"] == windows_each * EVALUATIONS
        assert instrument.closed


def test_a_silent_trigger_is_told_which_pin_belongs_where() -> None:
    _, text = judge(8, 0, MODEL, 3)
    assert "pin 1 of port 1" in text  # P1.01
    assert "digital input 3" in text


def test_a_board_without_a_network_leaves_the_wire_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = type("Bare", (Board,), {"problem": "no model image in its flash"})
    seen, _, _ = watch(monkeypatch, bare, PowerJob(seconds=0.3), quiet(100))
    assert seen["wiring"]["verdict"] == "untried"
    assert "no model image" in seen["wiring"]["text"]


def test_a_silent_line_leaves_the_wire_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Board):
        def hello(self) -> Board:
            raise LinkError("port: no answer")

    seen, _, _ = watch(monkeypatch, Silent, PowerJob(seconds=0.3), quiet(100))
    assert seen["wiring"]["verdict"] == "untried"


def test_the_monitor_of_every_instrument_can_be_looked_at_and_measures() -> None:
    assert MODEL.supply is not None
    monitor = MeasuredMonitor(PlayedInstrument(quiet(10)), MODEL.supply, trigger=2)
    assert isinstance(monitor, Sampling)
    assert isinstance(monitor, Measuring)
    assert isinstance(monitor, Excerpting)
    assert monitor.trigger == 2


def test_every_sample_is_seen_once_and_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    begins = excerpt_of([30, 40], [5e-3, 6e-3])
    job = PowerJob(seconds=0.6, wiring=False, trace=path)
    _, sights, _ = watch(monkeypatch, Board, job, begins)
    assert sum(sight["n_samples"] for sight in sights) == len(begins.current_a)
    assert sights[-1]["n_windows"] == 2
    assert sights[-1]["last_j"] == pytest.approx((30e-5 * 15e-3, 40e-5 * 18e-3))
    saved = np.concatenate([chunk.current_a for chunk in trace.load(path).chunks])
    np.testing.assert_array_equal(saved, begins.current_a)


def test_a_modelled_board_has_its_two_powers_and_no_samples() -> None:
    events: list[dict[str, Any]] = []
    watch_power(recorded_run.modelled(), PowerJob(seconds=1), MODEL, pytest.fail, events.append)  # type: ignore[arg-type]
    (event,) = events
    assert MODEL.supply is not None
    assert event["active_w"] == pytest.approx(MODEL.supply.active_ma * MODEL.supply.volts / 1e3)
    assert event["idle_w"] == pytest.approx(MODEL.supply.idle_ma * MODEL.supply.volts / 1e3)


def test_a_monitor_without_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="gives no samples"):
        watch_power(None, PowerJob(seconds=1), MODEL, pytest.fail, list[Any]().append)  # type: ignore[arg-type]


def test_lost_and_unusable_samples_are_counted_and_in_no_mean() -> None:
    part = quiet(100, 2e-3)
    part.current_a[:10] = np.nan
    part.flags[:10] = Flag.LOST
    part.current_a[10:30] = 1.0
    part.flags[10:30] = Flag.OVERCURRENT
    part.digital[50] = 4
    tap = Tap(PlayedInstrument(part), 0)
    tap.start()
    tap.stop()
    sight = tap.sight()
    assert (sight.n_samples, sight.n_lost, sight.n_unusable) == (100, 10, 30)
    assert (sight.mean_a, sight.min_a, sight.max_a) == pytest.approx((2e-3, 2e-3, 2e-3))
    assert sight.levels == ("low", "low", "both", *["low"] * 5)


def test_an_instrument_that_fails_is_heard() -> None:
    class Unplugged(PlayedInstrument):
        def read(self, timeout_s: float) -> Any:
            raise MonitorError("player 7: gone; plug it in again")

    tap = Tap(Unplugged(quiet(1)), 0)
    tap.start()
    with pytest.raises(MonitorError, match="plug it in again"):
        tap.stop()
