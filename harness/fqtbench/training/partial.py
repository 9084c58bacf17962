"""Dynamic partial gradient updates: which structures (filters, rows) of a layer a sample updates."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Values
from fqtbench.training.state import State

_DECAY: Final = F32(1 - 1 / 1024)  # of the largest average error, per sample
_SELECTION_STREAM: Final = 0x8000  # keeps these random numbers apart from those of the rounding


def select(state: State, number: int, error: Values) -> NDArray[np.int64]:
    """Return the structures that this sample updates, ascending; `error` (windows, filters) is centred.

    k = max(⌊(λ_min + e/e_max·(λ_max − λ_min))·N⌋, 1), with e the layer's average |error| and e_max the largest seen,
    decaying (Deutel et al., MCSoC 2025). The k largest Σ|error|; ties go to the lower index.
    """
    layer_state, header = state.layer_state[number], state.header
    filters = error.shape[1]
    count = filters
    importance = _importance(error)
    whole = bool(state.image.layers[number]["flags"] & im.LayerFlag.WHOLE)
    if header["partial"] != im.PartialRule.FULL and not whole:
        share = F32(header["lambda_min"])
        if header["partial"] == im.PartialRule.DYNAMIC:
            share = _dynamic_share(state, number, importance)
        count = min(max(int(share * F32(filters)), 1), filters)
    layer_state["updated"] = count
    if header["partial"] == im.PartialRule.RANDOM_K and not whole:
        stream = number + _SELECTION_STREAM
        importance = ar.random_rows(int(header["seed"]), state.step, stream, filters, 1)[:, 0] >> 1
    order = np.argsort(-importance.astype(np.float64), kind="stable")[:count]
    return np.sort(order).astype(np.int64)


def _importance(error: Values) -> NDArray[Any]:
    """Σ|error| of each filter; of floats in window order."""
    if error.dtype == np.float32:
        return ar.sum_in_order(np.abs(error))
    total: NDArray[np.int64] = np.abs(error).sum(axis=0)
    return total


def _dynamic_share(state: State, number: int, importance: NDArray[Any]) -> np.float32:
    layer, layer_state, header = state.image.layers[number], state.layer_state[number], state.header
    n_errors = state.error[int(layer["error_out"])].size
    if importance.dtype == np.float32:
        average = F32(ar.sum_in_order(importance)) / F32(n_errors)
    else:
        average = state.scale(layer["error_out"]) * F32(int(importance.sum())) / F32(n_errors)
    largest = np.maximum(average, F32(layer_state["error_max"]) * _DECAY)
    layer_state["error_max"] = largest
    ratio = average / largest if largest > 0 else F32(1)
    return F32(header["lambda_min"]) + ratio * (F32(header["lambda_max"]) - F32(header["lambda_min"]))
