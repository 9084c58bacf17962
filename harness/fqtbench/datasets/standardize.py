"""Float samples of the user's as uint8 maps, standardized by their training part."""

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import Standardization, Values
from fqtbench.datasets.dataset import Samples


def standardize(*parts: Values) -> list[Samples]:
    """Return `parts`, each (n, height, width, channels), as uint8, standardized per channel by the first of them.

    A channel that is constant there becomes the zero point wherever it has that value.
    """
    channels = parts[0].shape[-1]
    standard = standardization(parts[0].reshape(-1, channels))
    return [standard.quantize(part) for part in parts]


def standardization(values: NDArray[np.float64]) -> Standardization:
    """Return that of `values` (n, channels), with σ = 1 for a constant channel."""
    found = Standardization.of(values)
    return Standardization(found.mean, np.where(found.sigma > 0, found.sigma, 1.0))
