"""The board's clock and the instrument's, fitted to each other by windows that both have timed.

The board says how many cycles of its nominal clock each window took; the instrument, how many samples. With d the one
duration and m the other, both in s, the fit is m = (1 + drift)·d, through the origin: a window without length has none
by either clock. Drift is the relative difference of the two clocks, crystals' mostly; nothing tells which one is off.

The number of samples is that of the sampling instants in the window. It is off by the fractions at both ends: on
average by nothing, with a standard deviation of T·√(1/6) where these are independent and uniform (T the sample period).
So the drift has the standard error T·√(1/6) ÷ √(Σd²): short windows hardly tell it.

The firmware counts from just behind the pin's rise to just before its fall. These few cycles are in the drift, too, and
can't be told from it where windows are about equally long.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PPM: Final = 1e6
_TOLERANCE_SAMPLES: Final = 3.0
_TOLERANCE_SHARE: Final = 0.005
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class ClockFit:
    """How the instrument's clock goes by the board's.

    `drift_ppm`, and its standard error: by how much a time is longer by the instrument's clock. `offset_s`: what the
    instrument's clock shows at the board's 0; None where the board doesn't say when its windows began. `rms_s`,
    `max_s`: what the windows that fit are still off by. `misfits`: numbers of the others, which had no part in it.
    """

    drift_ppm: float
    drift_error_ppm: float
    offset_s: float | None
    rms_s: float
    max_s: float
    misfits: tuple[int, ...]


def fit_clocks(
    board_s: Seconds,
    instrument_s: Seconds,
    period_s: float,
    begins_s: tuple[Seconds, Seconds] | None = None,
) -> ClockFit:
    """Fit the durations of the same windows by both clocks, (n,) in s, n ≥ 1; `period_s` is the instrument's T.

    `begins_s`: when they began, by the board's clock and by the instrument's, each from an origin of its own.

    A window fits if it is within 3 T + 0.5 % of the slope that half of all time agrees on: one that is wrong
    neither hides itself nor makes others wrong.
    """
    tolerance_s = _tolerance_s(board_s, period_s)
    slope = _middle_slope(board_s, instrument_s)
    fits = np.abs(instrument_s - slope * board_s) <= tolerance_s
    board, instrument = board_s[fits], instrument_s[fits]
    power = float(board @ board)
    if power > 0:
        slope = float(board @ instrument) / power
    residuals = instrument - slope * board
    offset_s = None
    if begins_s is not None and fits.any():
        by_board, by_instrument = begins_s
        offset_s = float(np.mean(by_instrument[fits] - slope * by_board[fits]))
    return ClockFit(
        drift_ppm=(slope - 1) * _PPM,
        drift_error_ppm=period_s / np.sqrt(6 * power) * _PPM if power > 0 else float("inf"),
        offset_s=offset_s,
        rms_s=float(np.sqrt(np.mean(residuals**2))) if len(residuals) else 0.0,
        max_s=float(np.abs(residuals).max(initial=0.0)),
        misfits=tuple(np.flatnonzero(~fits).tolist()),
    )


def missing_window(many_s: Seconds, few_s: Seconds, period_s: float) -> int | None:
    """Return which of n + 1 windows the other side hasn't, so that its n fit the rest in order; None if none would do.

    Where several would, as among windows that take equally long, it is the last of them.
    """
    if len(many_s) != len(few_s) + 1:
        return None
    fits_before = np.abs(few_s - many_s[:-1]) <= _tolerance_s(many_s[:-1], period_s)
    fits_behind = np.abs(few_s - many_s[1:]) <= _tolerance_s(many_s[1:], period_s)
    at = int(np.argmin(np.append(fits_before, False)))  # all in front of it fit; it can't be further behind
    return at if fits_behind[at:].all() else None


def _tolerance_s(durations_s: Seconds, period_s: float) -> Seconds:
    return _TOLERANCE_SAMPLES * period_s + _TOLERANCE_SHARE * durations_s


def _middle_slope(board_s: Seconds, instrument_s: Seconds) -> float:
    """Return the median of the windows' slopes, each counted by its length."""
    long = board_s > 0
    slopes, weights = instrument_s[long] / board_s[long], board_s[long]
    if not len(slopes):
        return 1.0
    order = np.argsort(slopes)
    reached = np.cumsum(weights[order])
    return float(slopes[order][np.searchsorted(reached, reached[-1] / 2)])
