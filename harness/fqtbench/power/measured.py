"""Energy by an instrument's samples: a monitor of any `Instrument`."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Origin, Supply
from fqtbench.errors import MonitorError, UsageError
from fqtbench.power.account import Account, Windows
from fqtbench.power.edges import between_edges
from fqtbench.power.excerpt import Excerpt, ExcerptKeeper
from fqtbench.power.instrument import Chunk, Flag, Instrument, trigger_fault
from fqtbench.power.monitor import State
from fqtbench.power.recorder import Recorder
from fqtbench.power.totals import Fresh, Totals
from fqtbench.power.verdict import TRIGGER_GAP_S, Record, judge
from fqtbench.power.windows import WindowCutter

if TYPE_CHECKING:
    from fqtbench.power.trace import TraceWriter

_EXCERPT_WINDOWS: Final = 9  # three training steps
_OFF_S: Final = 1.0  # a board's capacitors are empty then
_WRONG_SUPPLY: Final = 0.05


class MeasuredMonitor:
    """A monitor that cuts what `instrument` samples into the windows of the board's trigger pin.

    `trigger`: the instrument's digital input that the pin is wired to. `origin`: what its figures are; an emulated
    instrument's are modelled, which only who launched it can know; `current_model` names what its current comes from.
    `traces`: a folder where each record is kept as a
    trace, record-1.parquet and so on.

    It owns the instrument: `close` closes that.
    """

    def __init__(
        self,
        instrument: Instrument,
        supply: Supply,
        *,
        trigger: int = 0,
        origin: Origin = "measured",
        current_model: str | None = None,
        traces: Path | None = None,
    ) -> None:
        self.instrument: Final = instrument
        self.trigger: Final = trigger
        self._supply, self._origin, self._traces = supply, origin, traces
        self._current_model = current_model
        self._recorder: Recorder | None = None
        self._failure: Exception | None = None
        self._fresh, self._totals = Fresh(), Totals()
        self._excerpt = ExcerptKeeper(_EXCERPT_WINDOWS, trigger)
        self._n_records = 0
        self._cutter: WindowCutter
        self._trace: TraceWriter | None = None

    @property
    def origin(self) -> Origin:
        """Whether its figures are measured; modelled if the instrument is an emulation."""
        return self._origin

    @property
    def model_id(self) -> str:
        """The instrument's kind, serial number, firmware and calibration; and the model of an emulation's current."""
        instrument = self.instrument.model_id
        return instrument if self._current_model is None else f"{instrument}; current {self._current_model}"

    def calibration_fault(self) -> str | None:
        """Return what is wrong with the instrument's calibration; what to do; None if nothing is."""
        return self.instrument.calibration_fault()

    def start(self) -> None:
        """Begin a record. Raises UsageError if the instrument lacks the input that the trigger should be on."""
        self._raise_failure()
        fault = trigger_fault(self.instrument, self.trigger)
        if fault is not None:
            raise UsageError(fault)
        self._cutter = WindowCutter(
            self.instrument.rate_hz, self.instrument.volts, self.trigger, TRIGGER_GAP_S
        )
        self._n_records += 1
        self._trace = self._new_trace()
        recorder = Recorder(self.instrument, self._take)
        recorder.start()
        self._recorder = recorder

    def stop(self) -> None:
        """End the record, if there is one, and wait until the instrument has no more of it."""
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        try:
            recorder.stop()
            self._end_record()
        except Exception as error:
            self._failure = error
            if self._trace is not None:
                self._trace.discard()
            raise

    def close(self) -> None:
        """Let go of the instrument; a record that is under way is lost."""
        with suppress(
            Exception
        ):  # what is wrong with an instrument has been said, or concerns nobody any more
            self.stop()
        with suppress(MonitorError):
            self.instrument.close()

    def windows(self, durations_s: NDArray[np.float64]) -> Windows:
        """Return the windows recorded since they were asked for last; `durations_s`: the same by the board's clock.

        Their energies are those between the true edges (edges.py).

        Raises MonitorError if they are not as many, or not as long, or one of them can't be used.
        """
        self._raise_failure()
        fresh, self._fresh = self._fresh, Fresh()
        table = fresh.windows()
        name, rate_hz = self.instrument.name, self.instrument.rate_hz
        board_s = durations_s.ravel()
        fit = judge(Record(name, self.trigger, rate_hz, table, fresh.n_lost), board_s)
        energies, uncertainties = np.empty((2, 0))
        if fit is not None:
            energies, uncertainties = between_edges(table, board_s, fit, 1 / rate_hz)
            self._totals.add(energies, uncertainties, board_s, fit)
        shape = durations_s.shape
        return Windows(energies.reshape(shape), uncertainties.reshape(shape), fresh.idle.mean_w)

    def window_energies_j(self, durations_s: NDArray[np.float64], state: State) -> NDArray[np.float64]:
        """Return the energies of `windows`, in J."""
        return self.windows(durations_s).energies_j

    def account(self) -> Account:
        """Return what became of all samples so far."""
        return self._totals.account()

    def excerpt(self) -> Excerpt | None:
        """Return the samples around the first three training steps; None if there was no window."""
        return self._excerpt.excerpt(self.instrument.rate_hz, self.instrument.volts)

    def _take(self, chunk: Chunk) -> None:
        """Take samples, in the recorder's thread."""
        self._fresh.pieces.append(self._cutter.feed(chunk))
        n_lost = int(np.count_nonzero(chunk.flags & np.uint8(Flag.LOST)))
        self._fresh.n_lost += n_lost
        self._totals.n_lost += n_lost
        self._totals.n_samples += len(chunk)
        self._totals.n_range_switches += int(np.count_nonzero(chunk.flags & np.uint8(Flag.RANGE_SWITCH)))
        if self._n_records == 1:  # time is not known between two
            self._excerpt.feed(chunk)
        if self._trace is not None:
            self._write(self._trace, chunk)

    def _end_record(self) -> None:
        self._fresh.pieces.append(self._cutter.finish())
        for idle in (self._fresh.idle, self._totals.idle):
            idle.add(self._cutter.idle_sum_w, self._cutter.idle_samples)
        if self._trace is not None:
            try:
                self._trace.close()
            except OSError as error:
                raise self._no_trace(error) from error

    def _new_trace(self) -> "TraceWriter | None":
        if self._traces is None:
            return None
        from fqtbench.power.trace import TraceWriter  # noqa: PLC0415  (Arrow, which few runs need)

        return TraceWriter(
            self._traces / f"record-{self._n_records}.parquet",
            self.instrument.name,
            self.instrument.rate_hz,
            self.instrument.volts,
        )

    def _write(self, trace: "TraceWriter", chunk: Chunk) -> None:
        try:
            trace.write(chunk)
        except OSError as error:
            raise self._no_trace(error) from error

    def _no_trace(self, error: OSError) -> MonitorError:
        return MonitorError(
            f"{self.instrument.name}: its trace can't be written to {self._traces} ({error.strerror or error}); "
            "make room there, or keep no trace"
        )

    def _raise_failure(self) -> None:
        failure = self._failure or (self._recorder and self._recorder.failure)
        if failure:
            raise failure


class SupplyingMonitor(MeasuredMonitor):
    """One whose instrument feeds the board: from its opening on the board has power."""

    def __init__(
        self,
        instrument: Instrument,
        supply: Supply,
        *,
        trigger: int = 0,
        origin: Origin = "measured",
        current_model: str | None = None,
        traces: Path | None = None,
        off_s: float = _OFF_S,
    ) -> None:
        super().__init__(
            instrument, supply, trigger=trigger, origin=origin, current_model=current_model, traces=traces
        )
        self._off_s = off_s
        if abs(instrument.volts - supply.volts) > _WRONG_SUPPLY * supply.volts:
            raise MonitorError(
                f"{instrument.name}: it is set to {instrument.volts:g} V, the board's model asks for "
                f"{supply.volts:g} V, so the board was not switched on; correct its `model`, or the instrument's "
                "settings"
            )
        instrument.supply(True)

    def power_cycle(self) -> None:
        """Take the board's supply away for a second, and bring it back."""
        self.instrument.supply(False)
        time.sleep(self._off_s)
        self.instrument.supply(True)
