"""Float samples of the user's as uint8 maps, standardized by their training part."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import Standardization, Values
from fqtbench.datasets.dataset import Samples
from fqtbench.errors import UsageError

_LARGEST: Final = 1e100


def standardize(*parts: Values) -> list[Samples]:
    """Return `parts`, each (n, height, width, channels), as uint8, standardized per channel by the first of them.

    A channel that is constant there becomes the zero point wherever it has that value.
    """
    channels = parts[0].shape[-1]
    standard = standardization(parts[0].reshape(-1, channels))
    return [standard.quantize(part) for part in parts]


def standardization(values: NDArray[np.float64]) -> Standardization:
    """Return that of `values` (n, channels), with σ = 1 for a constant channel.

    Raises UsageError for values so large that their squares would overflow.
    """
    if np.abs(values).max() > _LARGEST:
        raise UsageError(f"a training sample has a value beyond ±{_LARGEST:g}; scale the data")
    found = Standardization.of(values)
    return Standardization(found.mean, np.where(found.sigma > 0, found.sigma, 1.0))
