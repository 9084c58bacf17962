"""Dynamic partial gradient updates: which structures (filters, rows) of a layer a sample updates."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Values
from fqtbench.training.state import State

_DECAY: Final = F32(1 - 1 / 65536)  # of the largest average error, per sample
_UNIT: Final = F32(1 << 24)  # random numbers are whole, 1..2^24, instead of 0..1
_MOST_AMPLIFIED: Final = F32(128)
_SELECTION_STREAM: Final = 0x8000  # keeps these random numbers apart from those of the rounding


class Selection(NamedTuple):
    """What a sample updates: structures, ascending, and the errors (windows, filters), zero for the others."""

    structures: NDArray[np.int64]
    error: Values


def select(state: State, number: int, error: Values) -> Selection:
    """Choose the structures that this sample updates; `error` (windows, filters) is centred.

    k = max(⌊(λ_min + e/e_max·(λ_max − λ_min))·N⌋, 1), with e the layer's average |error| and e_max the largest seen,
    decaying (Deutel et al., MCSoC 2025). The k largest Σ|error|; ties go to the lower index. Rule SAMPLED draws them.
    """
    layer_state, header = state.layer_state[number], state.header
    filters = error.shape[1]
    whole = bool(state.image.layers[number]["flags"] & im.LayerFlag.WHOLE)
    rule = im.PartialRule.FULL if whole else im.PartialRule(int(header["partial"]))
    layer_state["updated"] = filters
    if rule == im.PartialRule.FULL:
        return Selection(np.arange(filters), error)
    importance, share = _importance(error), F32(header["lambda_min"])
    if rule in (im.PartialRule.DYNAMIC, im.PartialRule.SAMPLED):
        share = _dynamic_share(state, number, importance)
    count = min(max(int(share * F32(filters)), 1), filters)
    layer_state["updated"] = count
    keys = _keys(state, number, rule, importance)
    order = np.argsort(-keys.astype(np.float64), kind="stable")
    chosen = np.sort(order[:count]).astype(np.int64)
    kept = np.zeros_like(error)
    kept[:, chosen] = error[:, chosen]
    if rule == im.PartialRule.SAMPLED and count < filters:
        kept = _amplified(kept, importance.astype(np.float32), keys[order[count]])
    return Selection(chosen, kept)


def _keys(state: State, number: int, rule: im.PartialRule, importance: NDArray[Any]) -> NDArray[Any]:
    """What the structures are ranked by."""
    if rule in (im.PartialRule.DYNAMIC, im.PartialRule.TOP_K):
        return importance
    words = _random_words(state, number, len(importance))
    if rule == im.PartialRule.RANDOM_K:
        return words >> 1
    return importance.astype(np.float32) / ((words >> 8) + 1).astype(np.float32)


def _random_words(state: State, number: int, filters: int) -> NDArray[np.uint32]:
    return ar.random_rows(int(state.header["seed"]), state.step, number + _SELECTION_STREAM, filters, 1)[:, 0]


def _amplified(error: Values, importance: ar.Float32Array, missed: np.float32) -> Values:
    """Scale who was drawn with probability p < 1 by 1/p = missed/importance, `missed` the largest key not drawn.

    Priority sampling (Duffield, Lund, Thorup, J. ACM 54(6), 2007): the expected error is that of all structures, but
    for what saturates.
    """
    by = np.ones_like(importance)
    np.divide(missed * _UNIT, importance, out=by, where=importance > 0)
    by = np.maximum(np.minimum(by, _MOST_AMPLIFIED), F32(1))
    if error.dtype == np.float32:
        return error * by
    m = ar.round_to_int(by * F32(32768))
    scaled = np.clip((error * m + (1 << 14)) >> 15, -ar.ERROR_ZERO_POINT, 255 - ar.ERROR_ZERO_POINT)
    amplified: Values = np.where(by > 1, scaled, error)
    return amplified


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
