"""The energies of a run's windows, from whichever monitor the board has; they leave as events."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.bench.access import Emit, Event
from fqtbench.board import Origin
from fqtbench.errors import MonitorError
from fqtbench.power import PHASES, Excerpting, Measuring, Monitor, Sampling
from fqtbench.quantity import finite
from fqtbench.wire import Evaluated, Step

Energies = NDArray[np.float64]
_ROWS_PER_EVENT: Final = 4096


class Meter:
    """A monitor, or none, and the board's clock, or none: without both of them there are no energies."""

    def __init__(self, monitor: Monitor | None, clock_hz: int | None, emit: Emit) -> None:
        self._monitor, self._clock_hz, self._emit = monitor, clock_hz, emit

    @property
    def origin(self) -> Origin | None:
        """Whether energies are measured or modelled; None if there are none."""
        return None if self._monitor is None or self._clock_hz is None else self._monitor.origin

    def record(self, on: bool) -> None:
        """Begin or end the record, around a stream of samples."""
        if self._monitor is not None:
            (self._monitor.start if on else self._monitor.stop)()

    def training(self, epoch: int, steps: Sequence[Step]) -> Event:
        """Return each phase's energy in J, summed over `steps`; those of each step leave if they are measured."""
        if self._monitor is None or self._clock_hz is None:
            return {}
        cycles = np.array([(s.forward_cycles, s.backward_cycles, s.update_cycles) for s in steps], np.float64)
        durations_s, marked = cycles.reshape(-1, 3) / self._clock_hz, _marked(steps)
        if not isinstance(self._monitor, Measuring):
            energies = np.zeros_like(durations_s)
            energies[marked] = self._monitor.window_energies_j(durations_s[marked], "active")
            return {f"energy_{phase}_j": float(energies[:, i].sum()) for i, phase in enumerate(PHASES)}
        windows = self._monitor.windows(durations_s[marked])
        energies, uncertainties = np.full((2, *durations_s.shape), np.nan)
        energies[marked], uncertainties[marked] = windows.energies_j, windows.uncertainties_j
        self._send("step_energies", epoch, PHASES, energies, uncertainties)
        sums = {f"energy_{phase}_j": float(np.nansum(energies[:, i])) for i, phase in enumerate(PHASES)}
        return sums | {"idle_training_w": windows.idle_w}

    def evaluation(self, epoch: int, answers: Sequence[Evaluated]) -> Event:
        """Return the energy in J of all `answers`; that of each leaves if it is measured."""
        if self._monitor is None or self._clock_hz is None:
            return {}
        durations_s = np.array([[a.forward_cycles for a in answers]], np.float64) / self._clock_hz
        if not isinstance(self._monitor, Measuring):
            energies = self._monitor.window_energies_j(durations_s, "active")
            return {"energy_evaluation_j": float(energies.sum())}
        windows = self._monitor.windows(durations_s[0])
        columns = windows.energies_j[:, np.newaxis], windows.uncertainties_j[:, np.newaxis]
        self._send("evaluation_energies", epoch, PHASES[:1], *columns)
        return {"energy_evaluation_j": float(windows.energies_j.sum()), "idle_evaluation_w": windows.idle_w}

    def inferences(self, cycles: Iterable[int]) -> tuple[float, float | None]:
        """Return the energy in J of inferences of so many cycles, and its uncertainty in J if it is measured.

        The uncertainty is the sum of that of all edges: a bound, as if they were all wrong to the same side.
        """
        if self._monitor is None or self._clock_hz is None:
            raise MonitorError("there is no power monitor, or no clock, to measure inferences with")
        durations_s = np.fromiter(cycles, np.float64) / self._clock_hz
        if not isinstance(self._monitor, Measuring):
            return float(self._monitor.window_energies_j(durations_s, "active").sum()), None
        windows = self._monitor.windows(durations_s)
        return float(windows.energies_j.sum()), float(windows.uncertainties_j.sum())

    def seconds(self, cycles: int) -> float:
        """Return the duration of so many core cycles."""
        assert self._clock_hz is not None, "a board without a clock has no energies to ask for"
        return cycles / self._clock_hz

    def end(self) -> None:
        """Send the instrument's account, and the trace of the first windows, if there are such."""
        if isinstance(self._monitor, Measuring):
            wire = {"trigger": self._monitor.trigger} if isinstance(self._monitor, Sampling) else {}
            self._emit({"event": "energy_account", **wire, **finite(asdict(self._monitor.account()))})
        if isinstance(self._monitor, Excerpting):
            from fqtbench.power.recorded import to_parquet  # noqa: PLC0415  (Arrow, which few workers need)

            excerpt = self._monitor.excerpt()
            if excerpt is not None:
                self._emit(
                    {
                        "event": "power_trace",
                        "parquet": base64.b64encode(to_parquet(excerpt, "first training steps")).decode(),
                    }
                )

    def _send(
        self, event: str, epoch: int, phases: Sequence[str], energies: Energies, uncertainties: Energies
    ) -> None:
        """Send columns, a row a sample, (n, phases); null where a sample had no such window."""
        for begin in range(0, len(energies), _ROWS_PER_EVENT):
            rows = slice(begin, begin + _ROWS_PER_EVENT)
            columns: dict[str, list[Any]] = {}
            for i, phase in enumerate(phases):
                columns[f"energy_{phase}_j"] = finite(energies[rows, i].tolist())
                columns[f"energy_{phase}_uncertainty_j"] = finite(uncertainties[rows, i].tolist())
            self._emit({"event": event, "epoch": epoch, "columns": columns})


def _marked(steps: Iterable[Step]) -> NDArray[np.bool_]:
    return np.array([(True, True, step.updated) for step in steps], bool).reshape(-1, 3)
