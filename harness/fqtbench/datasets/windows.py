"""Windows of time series."""

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.dataset import Samples


def cut(values: NDArray[np.uint8], window: int, step: int) -> Samples:
    """Return the windows of `values` (n, channels) that begin every `step`, as maps (m, 1, window, channels).

    What is left at the end is dropped; m is 0 if `values` are shorter than a window.
    """
    if len(values) < window:
        return np.empty((0, 1, window, values.shape[1]), np.uint8)
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)[::step]  # (m, channels, window)
    return np.ascontiguousarray(views.transpose(0, 2, 1))[:, None]
