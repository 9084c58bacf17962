"""A whole trace summed up: its windows, its mean, and what is missing in it. Memory: for one chunk and the windows."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fqtbench.errors import UsageError
from fqtbench.power.instrument import UNUSABLE, Flag
from fqtbench.power.recording import Recording
from fqtbench.power.windows import MIN_SAMPLES, WINDOW, TableOfWindows, WindowCutter

_MAX_WINDOWS: Final = 20_000_000  # 0.7 GB of them: a trigger input that isn't one


@dataclass(frozen=True)
class Analysis:
    """What a trace says.

    `windows`: (n,) of `windows.WINDOW`, those usable and those not; `idle_w`: mean power between them in W, None
    without such time. `mean_a`, in A, over all samples that have a value. `counts`: samples that have each `Flag`, by
    its name.
    """

    name: str
    rate_hz: float
    n_samples: int
    mean_a: float | None
    counts: dict[str, int]
    windows: TableOfWindows
    idle_w: float | None

    def usable(self) -> TableOfWindows:
        """Return the windows that have an energy: whole, long enough, and without an unusable sample."""
        w = self.windows
        good = w["whole"] & ((w["flags"] & np.uint8(UNUSABLE)) == 0) & (w["end"] - w["begin"] >= MIN_SAMPLES)
        return np.asarray(w[good])


def analyse(recording: Recording, trigger: int, volts: float | None = None) -> Analysis:
    """Read a trace to its end. `volts`: the supply, where the file says none, or instead of what it says.

    Raises UsageError if the file is damaged, or says no voltage and none is given.
    """
    cutter = WindowCutter(recording.rate_hz, recording.volts if volts is None else volts, trigger)
    tables: list[TableOfWindows] = []
    counts = dict.fromkeys((str(flag.name) for flag in Flag), 0)
    n_windows = n_known = 0
    sum_a = 0.0
    for chunk in recording.chunks:
        found = cutter.feed(chunk if volts is None else replace(chunk, volts=None))
        n_windows += len(found)
        if n_windows > _MAX_WINDOWS:
            raise UsageError(
                f"trace {recording.name}: digital input {trigger} changes too often; choose another"
            )
        tables.append(found)
        current = chunk.current_a[np.isfinite(chunk.current_a)]
        n_known += len(current)
        sum_a += float(current.sum(dtype=np.float64))
        for flag in Flag:
            counts[str(flag.name)] += int(np.count_nonzero(chunk.flags & np.uint8(flag)))
    tables.append(cutter.finish())
    return Analysis(
        name=recording.name,
        rate_hz=recording.rate_hz,
        n_samples=cutter.n_samples,
        mean_a=sum_a / n_known if n_known else None,
        counts=counts,
        windows=np.concatenate([np.empty(0, WINDOW), *tables]),
        idle_w=cutter.idle_w,
    )
