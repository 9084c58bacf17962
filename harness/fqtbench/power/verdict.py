"""Whether the windows of a record are those of the phases that the board timed, and good enough to be used."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.power.clock_fit import ClockFit, fit_clocks, missing_window
from fqtbench.power.instrument import UNUSABLE, Flag
from fqtbench.power.windows import MIN_SAMPLES, TableOfWindows

TRIGGER_GAP_S: Final = 50e-6
"""For which the pin stays low, and the core computes, behind each phase (TRIGGER_GAP_US in firmware/app/main.c)."""

_LEAST_GAP_SAMPLES: Final = 2
_WIRE: Final = (
    "check the wire from the board's trigger pin (`trigger` in its board model) to that input, and the ground"
)
_REMEDIES: Final = {
    Flag.LOST: "samples never arrived: plug the instrument straight into the computer, and leave that less to do",
    Flag.OVERCURRENT: "the current was more than the instrument carries: take loads off the board",
    Flag.SATURATED: "the converter was at its end: take loads off the board, or another range",
    Flag.WRONG_VOLTAGE: "the supply was not as asked for: check its wires, and what else feeds the board",
}


@dataclass(frozen=True)
class Record:
    """What was seen by the instrument `name` on its input `trigger`: windows, samples a second, samples lost."""

    name: str
    trigger: int
    rate_hz: float
    windows: TableOfWindows
    n_lost: int


def judge(record: Record, durations_s: NDArray[np.float64]) -> ClockFit | None:
    """Return how the clocks go, the windows being as many as `durations_s`, (n,), the board's, as long, and usable.

    Returns None if there are none. Raises MonitorError, which names the window, what is wrong with it and what to do.
    """
    windows = record.windows
    if len(windows) != len(durations_s):
        raise MonitorError(_miscount(record, durations_s))
    if not len(windows):
        return None
    for number, window in enumerate(windows):
        if fault := _fault(record, window):
            raise MonitorError(f"{record.name}: window {number + 1} of {len(windows)} {fault}")
    seen_s = _seen_s(record)
    fit = fit_clocks(durations_s, seen_s, 1 / record.rate_hz)
    if fit.misfits:
        number = fit.misfits[0]
        raise MonitorError(
            f"{record.name}: window {number + 1} of {len(windows)} took {seen_s[number]:.6g} s by the instrument, "
            f"{durations_s[number]:.6g} s by the board ({len(fit.misfits)} such windows): the input {record.trigger} "
            f"sees other edges than the firmware's; {_WIRE}"
        )
    return fit


def _fault(record: Record, window: np.void) -> str | None:
    if not window["whole"]:
        end = "began before" if window["begin"] == 0 else "was not over with"
        return f"{end} the record: the input {record.trigger} was high all the while; {_WIRE}"
    flags = Flag(int(window["flags"])) & UNUSABLE
    for flag in flags:
        return f"has samples flagged {flag.name}, so it has no energy; {_REMEDIES[flag]}"
    if not np.isfinite(window["energy_j"]):
        return f"has samples without a value, so it has no energy; {_REMEDIES[Flag.LOST]}"
    n = int(window["end"] - window["begin"])
    if n < MIN_SAMPLES:
        return (
            f"has {n} sample: too short for {record.rate_hz:g} samples a second, or a glitch on the input "
            f"{record.trigger}; {_WIRE}, or take a faster instrument"
        )
    return None


def _miscount(record: Record, durations_s: NDArray[np.float64]) -> str:
    n, expected = len(record.windows), len(durations_s)
    said = f"{record.name}: {n} windows on its input {record.trigger} for the {expected} phases that the board timed"
    if record.n_lost:
        return f"{said}, and {record.n_lost} samples missing; {_REMEDIES[Flag.LOST]}"
    if record.rate_hz * TRIGGER_GAP_S < _LEAST_GAP_SAMPLES and n < expected:
        return (
            f"{said}: at {record.rate_hz:g} samples a second the {TRIGGER_GAP_S * 1e6:g} µs between two phases may not "
            f"show; take a faster instrument, or {_WIRE}"
        )
    period_s, seen_s = 1 / record.rate_hz, _seen_s(record)
    if (number := missing_window(durations_s, seen_s, period_s)) is not None:
        said += f" (number {number + 1} of these is missing)"
    elif (number := missing_window(seen_s, durations_s, period_s)) is not None:
        said += f" (number {number + 1} of the windows is one too many)"
    return f"{said}; {_WIRE}"


def _seen_s(record: Record) -> NDArray[np.float64]:
    seen: NDArray[np.float64] = (record.windows["end"] - record.windows["begin"]) / record.rate_hz
    return seen
