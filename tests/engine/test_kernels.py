"""Promise: every variant of a kernel gives the same bits: DSP and portable, dense and sparse."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.kernels.call import Call, Kernel, Result, Shape
from fqtbench.kernels.rig import OnCore
from tests.kernels.compiled import on_core, on_host

_CASES = max(int(os.environ.get("FQTBENCH_ENGINE_CASES", "80")) // 4, 40)
_SETTINGS = settings(
    max_examples=_CASES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
_COUNTS = st.one_of(st.integers(1, 9), st.sampled_from([4, 8, 12, 16, 19, 36]))  # of channels, and of filters
# Beyond what a kernel must have: nothing, enough for some widened weights, for all, and for a centred map.
_SPARE_BYTES = st.sampled_from([0, 0, 1 << 8, 1 << 10, 1 << 12, 1 << 15])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Call], Result]:
    return on_host(tmp_path_factory, "-fsanitize=undefined", "-fno-sanitize-recover")


@pytest.fixture(scope="module", params=["cortex-m0plus", "cortex-m4", "cortex-m7"])
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OnCore:
    return on_core(tmp_path_factory, request.param)


_weight_zeros = st.one_of(st.just(128), st.integers(0, 255))  # most weights have 128


@st.composite
def _shapes(draw: st.DrawFn) -> Shape:
    """Convolutions of one group over maps of up to 7×7×9; one in four is a fully connected layer."""
    c, filters = draw(_COUNTS), draw(_COUNTS)
    if draw(st.integers(0, 3)) == 0:
        return Shape(1, 1, draw(st.integers(1, 40)), filters)
    size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    pad_end = tuple(
        draw(st.integers(max(0, k - n - p), max(k - 1, k - n - p)))
        for k, n, p in zip(kernel, size, pad, strict=True)
    )
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Shape(*size, c, filters, kernel, stride, (pad[0], pad[1]), (pad_end[0], pad_end[1]))


@st.composite
def _depthwise_shapes(draw: st.DrawFn, same: bool = False) -> Shape:
    """Depthwise convolutions of 4, 8 or 12 channels, half of them 3x3; `same`: with a stride of 1."""
    channels = draw(st.sampled_from([4, 8, 12]))
    small = st.tuples(st.integers(1, 5), st.integers(1, 5)).filter(lambda k: k != (1, 1))
    kernel = draw(st.one_of(st.just((3, 3)), small))
    size = tuple(draw(st.integers(max(1, k - 2), 11)) for k in kernel)
    pad, pad_end = (
        tuple(draw(st.integers(max(0, -(-(k - n) // 2)), k - 1)) for k, n in zip(kernel, size, strict=True))
        for _ in range(2)
    )
    stride = (1, 1) if same else (draw(st.integers(1, min(3, kernel[0]))), draw(st.integers(1, 3)))
    return Shape(
        *(size[0], size[1], channels, channels, kernel, stride),
        *((pad[0], pad[1]), (pad_end[0], pad_end[1]), channels),
    )


@st.composite
def _grey_shapes(draw: st.DrawFn) -> Shape:
    """Convolutions of one channel to 4, 8 or 12 filters, with kernels three columns wide."""
    filters, kernel = draw(st.sampled_from([4, 8, 12])), (draw(st.sampled_from([1, 2, 3, 3, 5])), 3)
    size = draw(st.integers(max(1, kernel[0] - 2), 11)), draw(st.integers(1, 17))
    pad, pad_end = (
        tuple(draw(st.integers(max(0, -(-(k - n) // 2)), k - 1)) for k, n in zip(kernel, size, strict=True))
        for _ in range(2)
    )
    stride = draw(st.integers(1, min(3, kernel[0]))), draw(st.integers(1, 4))
    return Shape(*size, 1, filters, kernel, stride, (pad[0], pad[1]), (pad_end[0], pad_end[1]))


@st.composite
def _backward_calls(draw: st.DrawFn, shapes: st.SearchStrategy[Shape] | None = None) -> Call:
    """A call whose kernel and memory are still to be set; some filters are selected, perhaps all."""
    shape = draw(_shapes() if shapes is None else shapes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extreme = draw(st.booleans())
    error = _bytes(rng, shape.errors, extreme)
    error[rng.random(shape.errors) >= draw(st.sampled_from([0.0, 0.1, 1.0]))] = 128
    tensors: dict[str, NDArray[np.generic]] = {
        "x": _bytes(rng, shape.h * shape.w * shape.c, extreme),
        "weights": _bytes(rng, shape.filters * shape.stored, extreme),
        "error": error,
    }
    n_filters = shape.filters
    if draw(st.booleans()):
        chosen = draw(st.sets(st.integers(0, shape.filters - 1), min_size=1))
        tensors["filters"], n_filters = np.array(sorted(chosen), np.uint16), len(chosen)
    masked = draw(st.booleans())
    numbers = {
        "x_zero": int(rng.integers(0, 256)),
        "weight_zero": draw(_weight_zeros),
        **{"mask_low": 40 if masked else -1, "mask_high": 200 if masked else 256},
        **{"m": int(rng.integers(1 << 14, 1 << 15)), "shift": int(rng.integers(17, 33))},
        "tracking": int(draw(st.booleans())),
    }
    return Call(Kernel.COUNT, shape, tensors, 0, 0, n_filters, numbers)


def _bytes(rng: np.random.Generator, n: int, extreme: bool) -> NDArray[np.uint8]:
    return (
        rng.choice(np.array([0, 255], np.uint8), n) if extreme else rng.integers(0, 256, n).astype(np.uint8)
    )


@st.composite
def _forward_calls(draw: st.DrawFn, sums_only: bool = False) -> Call:
    """Forward passes with groups, a fused pool and both clamps; or of one group, that leave their int32 sums."""
    shape = draw(_shapes() if sums_only else st.one_of(_shapes(), _depthwise_shapes()))
    if not sums_only and shape.groups == 1 and shape.kernel != (1, 1) and draw(st.booleans()):
        groups = draw(st.integers(1, 3))
        shape = replace(shape, c=shape.c * groups, filters=shape.filters * groups, groups=groups)
    if not sums_only and min(shape.out) >= 2 and draw(st.booleans()):
        shape = replace(shape, pool=2)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extreme, head = draw(st.booleans()), sums_only or (shape.pool == 1 and draw(st.booleans()))
    tensors: dict[str, NDArray[np.generic]] = {
        "x": _bytes(rng, shape.h * shape.w * shape.c, extreme),
        "weights": _bytes(rng, shape.filters * shape.stored, extreme),
        "bias": rng.integers(-(1 << 22), (1 << 22) + 1, shape.filters).astype(np.int32),
    }
    if shape.pool == 2:
        tensors["argmax"] = np.zeros(-(-shape.errors // 4), np.uint8)
    lowest, highest = draw(st.sampled_from([(0, 255), (7, 255), (0, 200)]))
    numbers = {
        **{name: int(rng.integers(0, 256)) for name in ("x_zero", "out_zero")},
        "weight_zero": draw(_weight_zeros),
        **{"m": int(rng.integers(1 << 14, 1 << 15)), "shift": int(rng.integers(17, 33))},
        **{"lowest": lowest, "highest": highest, "out_is_int32": int(head)},
        "tracking": int(draw(st.booleans())),
    }
    size = shape.errors * (4 if head else 1)
    scratch = shape.scratch_bytes() + draw(_SPARE_BYTES)
    return Call(Kernel.FORWARD, shape, tensors, scratch, size, shape.filters, numbers)


def _gradient(call: Call, dense: bool, spare_bytes: int = 0) -> Call:
    size = 4 * call.shape.stored * call.n_filters
    if dense:
        scratch = call.shape.dense_gradient_bytes(2) + spare_bytes
        numbers = {**call.numbers, "out_is_int32": spare_bytes % 3 % 2}
        return replace(
            call, kernel=Kernel.GRADIENT_DENSE, out_bytes=size, scratch_bytes=scratch, numbers=numbers
        )
    return replace(
        call,
        kernel=Kernel.GRADIENT_SPARSE,
        out_bytes=size,
        scratch_bytes=call.shape.scratch_bytes(gradient=True) + spare_bytes,
    )


def _error(call: Call, scratch_bytes: int, dense: bool) -> Call:
    kernel = Kernel.ERROR_DENSE if dense else Kernel.ERROR_SPARSE
    size = call.shape.h * call.shape.w * call.shape.c
    return replace(call, kernel=kernel, scratch_bytes=scratch_bytes, out_bytes=size)


def _rows(call: Call, result: Result) -> NDArray[np.int32]:
    """Return the gradients (n_filters, taps)."""
    rows = np.frombuffer(result.out, np.int32).reshape(call.n_filters, call.shape.stored)
    return rows[:, : call.shape.taps]


@_SETTINGS
@given(call=_forward_calls())
def test_forward_passes_of_both_variants_agree(
    host: Callable[[Call], Result], core: OnCore, call: Call
) -> None:
    assert core(call)[:4] == host(call)[:4]


@_SETTINGS
@given(call=_forward_calls(sums_only=True))
def test_forward_pass_is_its_definition(host: Callable[[Call], Result], call: Call) -> None:
    shape, n = call.shape, call.numbers
    pads = [(p, e + shape.kernel[i]) for i, (p, e) in enumerate(zip(shape.pad, shape.pad_end, strict=True))]
    x = call.tensors["x"].astype(np.int64).reshape(shape.h, shape.w, shape.c) - n["x_zero"]
    x = np.pad(x, (*pads, (0, 0)))
    w = call.tensors["weights"].astype(np.int64).reshape(shape.filters, shape.stored)[:, : shape.taps]
    got = np.frombuffer(host(call).out, np.int32).reshape(*shape.out, shape.filters)
    for oy, ox in np.ndindex(*shape.out):
        y, left = oy * shape.stride[0], ox * shape.stride[1]
        window = x[y : y + shape.kernel[0], left : left + shape.kernel[1]].ravel()
        assert np.array_equal(
            got[oy, ox], call.tensors["bias"].astype(np.int64) + (w - n["weight_zero"]) @ window
        )


@_SETTINGS
@given(call=_backward_calls(), spare_bytes=_SPARE_BYTES)
def test_dense_gradients_are_those_of_the_kernel_that_skips_zeros(
    host: Callable[[Call], Result], core: OnCore, call: Call, spare_bytes: int
) -> None:
    expected = host(_gradient(call, dense=False))
    for run, dense in ((core, False), (host, True), (core, True)):
        result = run(_gradient(call, dense, spare_bytes))
        assert np.array_equal(_rows(call, result), _rows(call, expected))
        assert result.sums == expected.sums


@pytest.mark.parametrize("lowest", [0.1, 1.0])
@pytest.mark.parametrize("spare_bytes", [0, 1 << 10, 1 << 15])
@pytest.mark.parametrize("shape", [Shape(15, 13, 4, 10), Shape(9, 9, 8, 6, (3, 3), (1, 1), (1, 1), (1, 1))])
def test_dense_gradients_of_the_lowest_errors_agree(
    host: Callable[[Call], Result], core: OnCore, shape: Shape, spare_bytes: int, lowest: float
) -> None:
    """No error is zero, many or all are -128: M0+ adds two products in half a word, which two of them overflow.

    Its lists are at their longest, so blocks of pixels become shorter until there is room.
    """
    rng = np.random.default_rng(spare_bytes)
    error = rng.integers(129, 256, shape.errors).astype(np.uint8)
    error[rng.random(shape.errors) < lowest] = 0
    x = rng.choice(np.array([0, 255], np.uint8), shape.h * shape.w * shape.c, p=(0.8, 0.2))
    tensors: dict[str, NDArray[np.generic]] = {"x": x, "error": error}
    call = Call(Kernel.COUNT, shape, tensors, 0, 0, shape.filters, {"x_zero": 3})
    expected, result = host(_gradient(call, dense=False)), core(_gradient(call, True, spare_bytes))
    assert np.array_equal(_rows(call, result), _rows(call, expected))
    assert result.sums == expected.sums


@_SETTINGS
@given(call=_backward_calls(), channels=st.integers(2, 20), spare_bytes=_SPARE_BYTES)
def test_dense_errors_are_those_of_the_kernel_that_skips_zeros(
    host: Callable[[Call], Result], core: OnCore, call: Call, channels: int, spare_bytes: int
) -> None:
    sparse = _error(call, call.shape.scratch_bytes(error=True), dense=False)
    dense = _error(call, call.shape.dense_error_bytes(channels) + spare_bytes, dense=True)
    expected = host(sparse)
    for run, variant in ((core, sparse), (host, dense), (core, dense)):
        result = run(variant)
        assert result.out == expected.out
        assert result.numbers == expected.numbers


def _assert_planar_gradients(
    host: Callable[[Call], Result], core: OnCore, call: Call, scratch_bytes: int
) -> None:
    call = replace(call, n_filters=call.shape.filters)
    call.tensors.pop("filters", None)
    sparse = _gradient(call, dense=False)
    size = sparse.out_bytes + 4 * call.n_filters
    planar = replace(sparse, kernel=Kernel.GRADIENT_PLANAR, scratch_bytes=scratch_bytes, out_bytes=size)
    expected = host(sparse)
    for run in (host, core):
        result = run(planar)
        assert np.array_equal(_rows(call, result), _rows(call, expected))
        assert result.sums == expected.sums


@_SETTINGS
@given(call=_backward_calls(_depthwise_shapes()))
def test_depthwise_gradients_are_those_of_the_kernel_that_skips_zeros(
    host: Callable[[Call], Result], core: OnCore, call: Call
) -> None:
    _assert_planar_gradients(host, core, call, call.shape.planar_gradient_bytes())


@_SETTINGS
@given(call=_backward_calls(_grey_shapes()), band_rows=st.integers(1, 8), spare_bytes=st.integers(0, 64))
def test_gradients_of_grey_images_are_those_of_the_kernel_that_skips_zeros(
    host: Callable[[Call], Result], core: OnCore, call: Call, band_rows: int, spare_bytes: int
) -> None:
    _assert_planar_gradients(host, core, call, call.shape.grey_gradient_bytes(band_rows) + spare_bytes)


@_SETTINGS
@given(call=_backward_calls(_depthwise_shapes(same=True)))
def test_depthwise_errors_are_those_of_the_kernel_that_skips_zeros(
    host: Callable[[Call], Result], core: OnCore, call: Call
) -> None:
    sparse = _error(call, call.shape.scratch_bytes(error=True), dense=False)
    planar = replace(sparse, kernel=Kernel.ERROR_PLANAR, scratch_bytes=call.shape.planar_error_bytes())
    expected = host(sparse)
    for run in (host, core):
        result = run(planar)
        assert result.out == expected.out
        assert result.numbers == expected.numbers


@_SETTINGS
@given(shape=_depthwise_shapes(), lowest=st.integers(0, 2), seed=st.integers(0, 2**32 - 1))
def test_depthwise_sums_of_the_largest_products_agree(
    host: Callable[[Call], Result], core: OnCore, shape: Shape, lowest: int, seed: int
) -> None:
    """Weights 127 from their zero point, some 128: M0+ adds two products in half a word, which two of -128 overflow."""
    rng = np.random.default_rng(seed)
    weights = rng.choice(np.array([1, 255], np.uint8), (shape.filters, shape.stored))
    weights[:, rng.permutation(shape.taps)[:lowest]] = 0
    x = rng.choice(np.array([0, 255], np.uint8), shape.h * shape.w * shape.c, p=(0.8, 0.2))
    tensors = {"x": x, "weights": weights, "bias": np.zeros(shape.filters, np.int32)}
    numbers = {"x_zero": 0, "weight_zero": 128, "m": 1 << 14, "shift": 28, "highest": 255, "out_is_int32": 1}
    size, scratch = 4 * shape.errors, shape.scratch_bytes()
    call = Call(Kernel.FORWARD, shape, tensors, scratch, size, shape.filters, numbers)
    assert core(call).out == host(call).out


@_SETTINGS
@given(call=_backward_calls())
def test_errors_that_are_not_zero_are_counted(
    host: Callable[[Call], Result], core: OnCore, call: Call
) -> None:
    expected = int(np.count_nonzero(call.tensors["error"] != 128))
    assert host(call).numbers[0] == core(call).numbers[0] == expected


@_SETTINGS
@given(shape=_shapes(), seed=st.integers(0, 2**32 - 1))
@example(shape=Shape(32, 32, 1, 7), seed=0)  # more windows than a halfword's sum can take
def test_importance_is_the_sum_of_magnitudes(
    host: Callable[[Call], Result], core: OnCore, shape: Shape, seed: int
) -> None:
    error = _bytes(np.random.default_rng(seed), shape.errors, extreme=bool(seed % 2 == 0))
    call = Call(Kernel.WEIGH, shape, {"error": error}, 0, 4 * shape.filters, shape.filters)
    expected = np.abs(error.reshape(-1, shape.filters).astype(np.int64) - 128).sum(axis=0)
    for run in (host, core):
        assert np.frombuffer(run(call).out, np.uint32).tolist() == expected.tolist()


def _cells(rng: np.random.Generator, n: int) -> NDArray[np.int16]:
    gradients = rng.choice(np.array([-2048, -2047, -500, -1, 0, 1, 500, 2046, 2047]), n)
    return (gradients * 16 + rng.integers(0, 16, n)).astype(np.int16)


def _folded(cells: NDArray[np.int16], sums: NDArray[np.int64], m: int, shift: int) -> list[int]:
    shares = np.clip((sums * m + (1 << (shift - 1))) >> shift, -2048, 2047)
    return np.clip(cells + 16 * shares, -32768, 32767).tolist()


@_SETTINGS
@given(
    n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), reach=st.sampled_from([1 << 8, 1 << 20, 1 << 31])
)
def test_folded_gradients_of_both_variants_agree(
    host: Callable[[Call], Result], core: OnCore, n: int, seed: int, reach: int
) -> None:
    rng = np.random.default_rng(seed)
    plane = _cells(rng, n)
    sums = rng.integers(-reach, reach, n).astype(np.int32)
    m, shift = int(rng.integers(1 << 14, 1 << 15)), int(rng.integers(17, 33))
    call = Call(
        Kernel.FOLD, Shape(1, 1, 1, 1), {"argmax": plane, "bias": sums}, 0, 0, n, {"m": m, "shift": shift}
    )
    expected = _folded(plane, sums.astype(np.int64), m, shift)
    for run in (host, core):
        assert np.frombuffer(run(call).argmax, np.int16).tolist() == expected


@st.composite
def _outer_products(draw: st.DrawFn, kernel: Kernel) -> Call:
    """A fully connected layer's input, errors of which many are small, and a multiplier of any size."""
    shape = Shape(1, 1, draw(st.integers(1, 70)), draw(st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    error = _bytes(rng, shape.filters, draw(st.booleans()))
    small = rng.random(shape.filters) < 0.5
    error[small] = rng.integers(124, 133, np.count_nonzero(small))
    tensors: dict[str, NDArray[np.generic]] = {"x": _bytes(rng, shape.c, draw(st.booleans())), "error": error}
    m = draw(st.one_of(st.sampled_from([0, 1, 32767]), st.integers(1 << 14, (1 << 15) - 1)))
    numbers = {"x_zero": draw(st.sampled_from([0, 117, 255])), "m": m, "shift": draw(st.integers(17, 32))}
    return Call(kernel, shape, tensors, shape.scratch_bytes(gradient=True), 0, shape.filters, numbers)


def _products(call: Call) -> NDArray[np.int64]:
    """Return (e − 128)(x − z), (filters, stored), zero in the padding."""
    x = np.zeros(call.shape.stored, np.int64)
    x[: call.shape.taps] = call.tensors["x"].astype(np.int64) - call.numbers["x_zero"]
    return np.outer(call.tensors["error"].astype(np.int64) - 128, x)


@_SETTINGS
@given(call=_outer_products(Kernel.FOLD_OUTER), seed=st.integers(0, 2**32 - 1))
def test_outer_products_are_folded_as_their_sums_are(
    host: Callable[[Call], Result], core: OnCore, call: Call, seed: int
) -> None:
    plane = _cells(np.random.default_rng(seed), call.shape.filters * call.shape.stored)
    call = replace(call, tensors={**call.tensors, "argmax": plane})
    expected = _folded(plane, _products(call).ravel(), call.numbers["m"], call.numbers["shift"])
    for run in (host, core):
        assert np.frombuffer(run(call).argmax, np.int16).tolist() == expected


def _stepped(
    weights: NDArray[np.uint8], residual: NDArray[np.int8], sums: NDArray[np.int64], m: int, shift: int
) -> tuple[list[int], list[int], bool]:
    values = weights.astype(np.int64) * 256 + residual - ((sums * m + (1 << (shift - 1))) >> shift)
    kept = np.clip(values, -128, 255 * 256 + 127)
    quanta = (kept + 128) >> 8
    return quanta.tolist(), (kept - 256 * quanta).tolist(), bool((kept != values).any())


def _weights(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Return weights in the middle, or at the ends, of their range: all of them, one in 32, or none."""
    share = rng.choice([0, 1 / 32, 1])
    return np.where(rng.random(n) < share, _bytes(rng, n, True), rng.integers(100, 150, n).astype(np.uint8))


def _assert_steps(
    run: Callable[[Call], Result], call: Call, expected: tuple[list[int], list[int], bool]
) -> None:
    weights, residual, saturated = expected
    result = run(call)
    n = len(weights)
    assert np.frombuffer(result.argmax[:n], np.uint8).tolist() == weights
    assert np.frombuffer(result.argmax[-(-n // 4) * 4 :][:n], np.int8).tolist() == residual
    assert bool(result.numbers[0]) == saturated


@_SETTINGS
@given(
    n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), reach=st.sampled_from([1 << 8, 1 << 16, 1 << 31])
)
def test_steps_at_batch_1_of_both_variants_agree(
    host: Callable[[Call], Result], core: OnCore, n: int, seed: int, reach: int
) -> None:
    rng = np.random.default_rng(seed)
    weights, residual = _weights(rng, n), rng.integers(-128, 128, n).astype(np.int8)
    sums = rng.integers(-reach + 1, reach, n).astype(np.int32)
    numbers = {
        "m": int(rng.integers(1 << 14, 1 << 15)),
        "shift": int(rng.integers(17, 33)),
        "highest": reach - 1,
    }
    both = np.zeros((2, -(-n // 4) * 4), np.uint8)
    both[0, :n], both[1, :n] = weights, residual.view(np.uint8)
    tensors: dict[str, NDArray[np.generic]] = {"argmax": both, "bias": sums}
    call = Call(Kernel.STEP, Shape(1, 1, 1, 1), tensors, 0, 0, n, numbers)
    expected = _stepped(weights, residual, sums.astype(np.int64), numbers["m"], numbers["shift"])
    for run in (host, core):
        _assert_steps(run, call, expected)


@_SETTINGS
@given(call=_outer_products(Kernel.STEP_OUTER), seed=st.integers(0, 2**32 - 1))
def test_outer_products_step_as_their_sums_do(
    host: Callable[[Call], Result], core: OnCore, call: Call, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = call.shape.filters * call.shape.stored
    weights, residual = _weights(rng, n), rng.integers(-128, 128, n).astype(np.int8)
    both = np.concatenate([weights, residual.view(np.uint8)])
    call = replace(call, tensors={**call.tensors, "argmax": both})
    expected = _stepped(weights, residual, _products(call).ravel(), call.numbers["m"], call.numbers["shift"])
    for run in (host, core):
        _assert_steps(run, call, expected)


@_SETTINGS
@given(n=st.integers(1, 90), seed=st.integers(0, 2**32 - 1))
def test_moments_of_a_row_are_their_definition(
    host: Callable[[Call], Result], core: OnCore, n: int, seed: int
) -> None:
    cells = _cells(np.random.default_rng(seed), n)
    call = Call(Kernel.SUM_CELLS, Shape(1, 1, 1, 1), {"argmax": cells}, 0, 8, n)
    gradients = cells.astype(np.int64) >> 4
    for run in (host, core):
        result = run(call)
        assert result.numbers == (gradients.sum(), np.abs(gradients).max())
        assert np.frombuffer(result.out, np.int64)[0] == (gradients**2).sum()


@_SETTINGS
@given(
    n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), shift=st.integers(1, 28), dropped=st.integers(0, 28)
)
def test_steps_of_a_mini_batch_of_both_variants_agree(
    host: Callable[[Call], Result], core: OnCore, n: int, seed: int, shift: int, dropped: int
) -> None:
    rng = np.random.default_rng(seed)
    weights, cells = _weights(rng, n), _cells(rng, n)
    gradients, room = cells.astype(np.int64) >> 4, -(-n // 4) * 4
    m, offset = int(rng.integers(1 << 14, 1 << 15)), int(rng.integers(-(1 << 28), 1 << 28)) >> dropped
    both = np.zeros((3, room), np.uint8)
    both[:2].reshape(-1).view(np.int16)[:n], both[2, :n] = cells, weights
    largest = int(np.abs(gradients).max())
    numbers = {"m": m, "shift": shift, "lowest": offset, "highest": largest}
    call = Call(Kernel.STEP_CELLS, Shape(1, 1, 1, 1), {"argmax": both}, 0, 0, n, numbers)
    residual = ((cells.astype(np.int64) & 15) ^ 8) - 8
    values = 16 * weights.astype(np.int64) + residual - ((gradients * m + offset) >> shift)
    kept = np.clip(values, -8, 16 * 255 + 7)
    for run in (host, core):
        result = run(call)
        assert np.frombuffer(result.argmax, np.int16)[:n].tolist() == (kept & 15).tolist()
        assert np.frombuffer(result.argmax, np.uint8)[2 * room :][:n].tolist() == ((kept + 8) >> 4).tolist()
        assert result.numbers[0] == int((kept != values).any())


@_SETTINGS
@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), tracking=st.booleans())
def test_a_sum_of_maps_is_its_definition(
    host: Callable[[Call], Result], core: OnCore, n: int, seed: int, tracking: bool
) -> None:
    rng = np.random.default_rng(seed)
    a, b = (_bytes(rng, n, extreme=bool(seed % 2)) for _ in range(2))
    zero_a, zero_b, zero = (int(v) for v in rng.integers(0, 256, 3))
    first, second = (int(v) for v in rng.choice([0, 1, 12345, (1 << 14), (1 << 15) - 1], 2))
    low, high = sorted(int(v) for v in rng.choice([0, 7, 200, 255], 2, replace=False))
    shift = int(rng.integers(13, 18))
    numbers = {"x_zero": zero_a, "weight_zero": zero_b, "out_zero": zero, "lowest": low, "highest": high}
    numbers |= {"m": first, "mask_low": second, "shift": shift, "tracking": int(tracking)}
    call = Call(Kernel.ADD, Shape(1, 1, 1, 1), {"x": a, "weights": b}, 0, n, n, numbers)
    acc = (a.astype(np.int64) - zero_a) * first + (b.astype(np.int64) - zero_b) * second
    expected = np.clip(zero + ((acc + (1 << (shift - 1))) >> shift), low, high)
    for run in (host, core):
        result = run(call)
        assert np.frombuffer(result.out, np.uint8).tolist() == expected.tolist()
        if tracking:
            assert result.numbers == (acc.min(), acc.max())
