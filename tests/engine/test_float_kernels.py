"""Promise: the float32 kernels give the bits of plain loops in the order of docs/arithmetic.md, on every core."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.kernels.call import Call, Kernel, Result, Shape
from fqtbench.training.image import LayerFlag
from tests.kernels.compiled import on_core, on_host

_CASES = max(int(os.environ.get("FQTBENCH_ENGINE_CASES", "80")) // 4, 40)
_SETTINGS = settings(
    max_examples=_CASES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
_MASKS = [0, LayerFlag.MASK_INPUT, LayerFlag.MASK_INPUT | LayerFlag.MASK_INPUT_HIGH]
_SUBNORMAL = np.float32(1e-41)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Call], Result]:
    return on_host(tmp_path_factory, "-DFQT_PORTABLE")


@pytest.fixture(scope="module", params=["host", "cortex-m0plus", "cortex-m4", "cortex-m7"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Call], Result]:
    if request.param == "host":
        return on_host(tmp_path_factory, "-fsanitize=undefined", "-fno-sanitize-recover")
    return on_core(tmp_path_factory, request.param)


@st.composite
def _shapes(draw: st.DrawFn) -> Shape:
    """Convolutions over maps of up to 9×9, one in three depthwise or of groups; one in four is fully connected."""
    c, filters = draw(st.integers(1, 9)), draw(st.integers(1, 13))
    if draw(st.integers(0, 3)) == 0:
        return Shape(1, 1, draw(st.integers(1, 70)), filters)
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    pad_end = tuple(
        draw(st.integers(max(0, k - n - p), max(k - 1, k - n - p)))
        for k, n, p in zip(kernel, size, pad, strict=True)
    )
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    groups = draw(st.sampled_from([1, 1, 3, c]))
    if groups == 3:
        c, filters = 3 * draw(st.integers(1, 4)), 3 * draw(st.integers(1, 4))
    elif groups == c:
        filters = c * draw(st.integers(1, 2))
    return Shape(*size, c, filters, kernel, stride, (pad[0], pad[1]), (pad_end[0], pad_end[1]), groups)


def _values(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Return floats of both signs, some of them zero, minus zero or subnormal."""
    values = rng.standard_normal(n).astype(np.float32)
    special = rng.random(n)
    for limit, value in ((0.9, 0.0), (0.95, -0.0), (0.97, _SUBNORMAL), (0.98, -_SUBNORMAL)):
        values[special > limit] = value
    return values


@st.composite
def _calls(draw: st.DrawFn) -> Call:
    """A call whose kernel and output are still to be set; some filters are selected, perhaps all."""
    shape = draw(_shapes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    error = _values(rng, shape.errors)
    error[rng.random(shape.errors) >= draw(st.sampled_from([0.1, 0.6, 1.0]))] = 0
    n_filters = shape.filters
    tensors: dict[str, NDArray[np.generic]] = {
        "x": _values(rng, shape.h * shape.w * shape.c),
        "weights": _values(rng, shape.filters * shape.stored),
        "bias": _values(rng, shape.filters),
        "error": error,
    }
    if draw(st.booleans()):
        chosen = draw(st.sets(st.integers(0, shape.filters - 1), min_size=1))
        tensors["filters"], n_filters = np.array(sorted(chosen), np.uint16), len(chosen)
    if (
        draw(st.integers(0, 4)) == 0
    ):  # a training that has gone astray: zero times infinity is not left out by chance
        for name in ("x", "weights"):
            tensors[name][rng.integers(0, len(tensors[name]))] = np.float32(np.inf)
    tensors["argmax"] = rng.standard_normal(shape.filters * (shape.stored + 1)).astype(np.float32)
    return Call(Kernel.FLOAT_FORWARD, shape, tensors, 0, 0, n_filters)


def _floats(data: bytes) -> NDArray[np.uint32]:
    """Return the bits; of what is not a number only that it is none."""
    bits = np.frombuffer(data, np.uint32).copy()
    bits[np.isnan(bits.view(np.float32))] = 0x7FC00000
    return bits


def _same(one: Result, other: Result) -> bool:
    return all(np.array_equal(_floats(a), _floats(b)) for a, b in zip(one[:3], other[:3], strict=True))


@_SETTINGS
@given(call=_calls(), flags=st.sampled_from([0, LayerFlag.RELU, LayerFlag.RELU | LayerFlag.RELU6]))
def test_forward(
    plain: Callable[[Call], Result], run: Callable[[Call], Result], call: Call, flags: int
) -> None:
    call = replace(call, out_bytes=4 * call.shape.errors, numbers={"flags": flags})
    assert _same(run(call), plain(call))


@_SETTINGS
@given(call=_calls())
def test_gradient_goes_on_from_the_sum_of_the_batch(
    plain: Callable[[Call], Result], run: Callable[[Call], Result], call: Call
) -> None:
    call = replace(call, kernel=Kernel.FLOAT_GRADIENT)
    assert _same(run(call), plain(call))


@_SETTINGS
@given(
    call=_calls(),
    flags=st.sampled_from([0, LayerFlag.MASK_INPUT, LayerFlag.MASK_INPUT | LayerFlag.MASK_INPUT_HIGH]),
)
def test_error_in(
    plain: Callable[[Call], Result], run: Callable[[Call], Result], call: Call, flags: int
) -> None:
    shape = call.shape
    call = replace(
        call, kernel=Kernel.FLOAT_ERROR, out_bytes=4 * shape.h * shape.w * shape.c, numbers={"flags": flags}
    )
    assert _same(run(call), plain(call))
