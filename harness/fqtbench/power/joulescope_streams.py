"""Joulescope's streams put together: current, voltage and one input, each in blocks of its own, into Chunks.

Every block carries the id of its first sample: the count of ticks of the instrument's fastest clock since it was
opened. A stream that is decimated has a sample every `decimate_factor` ticks. Ids tell which samples of different
streams belong together, and which blocks never came. A JS220 sends 32 bits of them, which wrap after 35.8 min at
2 MHz; a driver may have widened them. Samples that the host's USB lost are NaN in the analog streams; the input is
packed bits, which can't say so.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Flag

_ID_BITS: Final = 32
_MAX_GAP_S: Final = 60.0
_MAX_AHEAD_S: Final = 10.0
_UNKNOWN: Final = 2  # of an input: neither low nor high
STREAMS: Final = ("current", "voltage", "gpi")


def _distance(later: int, earlier: int) -> int:
    """Return how many ticks lie between two ids of which the lower 32 bits may be all there is, negative backwards."""
    half = 1 << _ID_BITS - 1
    return (later - earlier + half) % (2 * half) - half


class _Lane:
    """One stream, its gaps filled, from tick `begin` on with a sample every `step` ticks."""

    def __init__(self, name: str, fill: float, dtype: type[np.float32] | type[np.uint8]) -> None:
        self.name = name
        self.begin = 0
        self.step = 0
        self._fill = fill
        self._dtype = dtype
        self._parts: list[NDArray[Any]] = []
        self._samples = 0
        self._next_id = 0

    @property
    def end(self) -> int:
        """The tick behind its last sample."""
        return self.begin + self._samples * self.step

    def push(self, first_id: int, step: int, data: NDArray[Any], max_gap: int) -> None:
        """Append a block; what it repeats is dropped, what is missing before it is filled."""
        if not self.step:
            self.step, self.begin, self._next_id = step, first_id, first_id
        elif step != self.step:
            raise MonitorError(f"changed the rate of its {self.name} while it recorded; start again")
        missing = _distance(first_id, self._next_id) // self.step
        if missing > max_gap:
            raise MonitorError(
                f"lost {missing} samples of its {self.name} in a row; connect it without a hub, start again"
            )
        if missing > 0:
            self._append(np.full(missing, self._fill, dtype=self._dtype))
        elif -8 < missing < 0 and self._drop_padding(-missing):
            self._next_id += missing * self.step
            missing = 0
        elif missing < 0:
            data = data[-missing:]
        self._append(data)
        self._next_id += (max(missing, 0) + len(data)) * self.step

    def _drop_padding(self, bits: int) -> bool:
        """Take back what filled up the last byte of packed bits; return whether there is such a byte."""
        if self._fill != _UNKNOWN or not self._parts or len(self._parts[-1]) < bits:
            return False
        self._parts[-1] = self._parts[-1][:-bits]
        self._samples -= bits
        return True

    def _append(self, data: NDArray[Any]) -> None:
        self._parts.append(data)
        self._samples += len(data)

    def take(self, tick: int, ticks: int) -> NDArray[Any]:
        """Return the samples of `ticks` from `tick` on, (ticks / step,), and forget them and all before."""
        whole = np.concatenate(self._parts)
        begin = (tick - self.begin) // self.step
        end = begin + ticks // self.step
        self._parts = [whole[end:]]
        self._samples = len(whole) - end
        self.begin += end * self.step
        return whole[begin:end]


class JoulescopeStreams:
    """What the streams bring, in Chunks at one rate.

    A sample of current or voltage is the mean over its period, and LOST with NaN if any part of it never came. The
    input is its level at the beginning of the period, and a sample is LOST too where that never came.

    Raises MonitorError (`push`), whose message begins with `name`.
    """

    def __init__(self, rate_hz: int, name: str) -> None:
        self.rate_hz = rate_hz
        self._name = name
        self._lanes = {
            "current": _Lane("current", float("nan"), np.float32),
            "voltage": _Lane("voltage", float("nan"), np.float32),
            "gpi": _Lane("input", _UNKNOWN, np.uint8),
        }
        self._first_id: int | None = None
        self._ticks = 0  # of a sample of ours
        self._tick = 0  # where the next one begins
        self._next = 0

    def push(self, stream: str, block: Mapping[str, object]) -> None:
        """Take a block of one of `STREAMS` as pyjoulescope_driver publishes it.

        Keys: `sample_id`, `sample_rate` (ticks a second), `decimate_factor`, `data` (float32, or bits packed from the
        least on).
        """
        data = np.asarray(block["data"])
        if stream == "gpi":
            data = np.unpackbits(data.astype(np.uint8), bitorder="little")
        first_id, step, tick_hz = map(
            self._number, [block] * 3, ["sample_id", "decimate_factor", "sample_rate"]
        )
        self.push_samples(stream, first_id, max(step, 1), tick_hz, data)

    def _number(self, block: Mapping[str, object], key: str) -> int:
        number = block.get(key)
        if isinstance(number, int) and number >= 0:
            return number
        raise MonitorError(f"{self._name} sent a block with {key} {number!r}; update pyjoulescope_driver")

    def push_samples(
        self,
        stream: str,
        first_id: int,
        step: int,
        tick_hz: int,
        data: NDArray[Any],
    ) -> None:
        """Take samples, (n,), from tick `first_id` on, one every `step` ticks; an input's as 0 or 1 each."""
        ticks, rest = divmod(tick_hz, self.rate_hz)
        if rest or ticks == 0 or ticks % step or (self._ticks and ticks != self._ticks):
            raise MonitorError(
                f"{self._name} sends {tick_hz} ticks a second, its {stream} every {step}; "
                f"{self.rate_hz} samples a second can't be made of that"
            )
        self._ticks = ticks
        if self._first_id is None:
            self._first_id = first_id
        lane = self._lanes[stream]
        if not lane.step:  # ids of different streams may lie on both sides of the wrap
            first_id = self._first_id + _distance(first_id, self._first_id)
        try:
            lane.push(first_id, step, data, int(_MAX_GAP_S * tick_hz / step))
        except MonitorError as error:
            raise MonitorError(f"{self._name} {error}") from None
        if lane.end - lane.begin > _MAX_AHEAD_S * tick_hz:
            behind = min(self._lanes.values(), key=lambda lane: (lane.step > 0, lane.end))
            raise MonitorError(
                f"{self._name} sends no {behind.name} any more; unplug and plug it, start again"
            )

    def take(self) -> list[Chunk]:
        """Return the samples that are complete in all streams: one Chunk, or none."""
        lanes = self._lanes
        if not all(lane.step for lane in lanes.values()):
            return []
        if self._next == 0:
            begin = max(lane.begin for lane in lanes.values())
            own = lanes["current"].begin  # whose samples are not to be split
            self._tick = own - (own - begin) // self._ticks * self._ticks
        n = (min(lane.end for lane in lanes.values()) - self._tick) // self._ticks
        if n <= 0:
            return []
        span = n * self._ticks
        current_a, volts = (self._means(lanes[stream].take(self._tick, span), n) for stream in STREAMS[:2])
        level = lanes["gpi"].take(self._tick, span)
        level = level.reshape(n, -1)[:, 0]
        lost = np.isnan(current_a) | np.isnan(volts) | (level == _UNKNOWN)
        current_a[lost] = np.nan
        chunk = Chunk(
            self._next,
            current_a,
            np.where(level == 1, 1, 0).astype(np.uint8),
            np.where(lost, int(Flag.LOST), 0).astype(np.uint8),
            volts,
        )
        self._next += n
        self._tick += span
        return [chunk]

    @staticmethod
    def _means(samples: NDArray[Any], n: int) -> NDArray[np.float32]:
        means: NDArray[np.float32] = samples.reshape(n, -1).mean(axis=1, dtype=np.float64).astype(np.float32)
        return means
