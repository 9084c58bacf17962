"""Sensor values as the network's uint8 inputs: standardized per channel, then quantized with one scale for all."""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]  # (..., channels)

CLIP_SIGMAS: Final = 4.0
SCALE: Final = 2 * CLIP_SIGMAS / 255  # σ per step
ZERO_POINT: Final = 128


@dataclass(frozen=True)
class Standardization:
    """Mean and standard deviation of each channel, in the sensor's units."""

    mean: Values  # (channels,)
    sigma: Values  # (channels,)

    @classmethod
    def of(cls, values: Values) -> Self:
        """Return that of `values` (n, channels), n ≥ 1, no channel constant.

        The sums are exact before their one rounding (`math.fsum`), so that every host gets the same bits.
        """
        n = len(values)
        mean = np.array([math.fsum(channel) / n for channel in values.T])
        spread = [math.fsum(channel) / n for channel in ((values - mean) ** 2).T]
        return cls(mean, np.sqrt(np.array(spread)))

    def quantize(self, values: Values) -> NDArray[np.uint8]:
        """Return `values` (..., channels) as uint8 of the same shape: (q − ZERO_POINT)·SCALE is in units of σ.

        What lies beyond ±CLIP_SIGMAS is clipped.
        """
        steps: Values = np.rint((values - self.mean) / self.sigma / SCALE) + ZERO_POINT
        return steps.clip(0, 255).astype(np.uint8)
