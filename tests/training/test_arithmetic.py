"""Promise: the scalar arithmetic is exact where it says so, and as accurate as it says elsewhere."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.training import arithmetic as ar

_POSITIVE = st.floats(min_value=2.0**-60, max_value=2.0**-3, width=32)
_INT32 = st.integers(-(2**31), 2**31 - 1)


@given(_POSITIVE)
def test_a_requantization_multiplier_is_within_half_a_bit_of_15(value: float) -> None:
    by = ar.requantize_multiplier(np.float32(value))
    assert 0 <= by.m < 2**15
    assert ar.REQUANTIZE_MIN_SHIFT <= by.shift <= ar.REQUANTIZE_MAX_SHIFT
    error = abs(by.m * 2.0**-by.shift - value)
    assert error <= max(value * 2.0**-15, 2.0 ** -(ar.REQUANTIZE_MAX_SHIFT + 1))


@given(st.floats(min_value=0.25, max_value=1e6, width=32))
def test_a_multiplier_beyond_a_quarter_saturates(value: float) -> None:
    assert ar.requantize_multiplier(np.float32(value)) == ((1 << 15) - 1, ar.REQUANTIZE_MIN_SHIFT)


@given(_INT32, _POSITIVE)
def test_scaling_rounds_half_up(acc: int, value: float) -> None:
    by = ar.requantize_multiplier(np.float32(value))
    exact = acc * by.m * 2.0**-by.shift
    assert int(ar.scale_rounded(np.array([acc], np.int64), by)[0]) == math.floor(exact + 0.5)


@given(st.floats(min_value=-(2.0**22) + 1, max_value=2.0**22 - 1, width=32))
def test_rounding_is_half_to_even(value: float) -> None:
    assert int(ar.round_to_int(np.array([value], np.float32))[0]) == round(value)


@given(st.floats(min_value=-87, max_value=0, width=32))
def test_exp_is_accurate(x: float) -> None:
    got = float(ar.exp_nonpositive(np.array([x], np.float32))[0])
    assert math.isclose(got, math.exp(x), rel_tol=1e-6)


def test_exp_far_below_zero_is_zero() -> None:
    assert float(ar.exp_nonpositive(np.array([-1e9], np.float32))[0]) == 0


@given(st.floats(min_value=1, max_value=2.0**20, width=32))
def test_log_is_accurate(x: float) -> None:
    assert abs(float(ar.log_of(np.float32(x))) - math.log(x)) < 2e-6
