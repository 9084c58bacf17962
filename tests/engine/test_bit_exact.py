"""Promise: the C engine computes what the reference defines, bit for bit."""

import ctypes
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fqtbench.training.compile import Memory
from fqtbench.training.reference import Trainer
from tests.engine.native import Engine
from tests.engine.networks import Case, cases, named

# CI asks for more cases than a desk does; the bound is stated where it is run.
_CASES = int(os.environ.get("FQTBENCH_ENGINE_CASES", "80"))

pytestmark = pytest.mark.timeout(1800)


@settings(max_examples=_CASES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_training_any_network_gives_the_references_bits(engine_library: ctypes.CDLL, case: Case) -> None:
    _assert_equal_bits(engine_library, case)


@pytest.mark.parametrize(
    "case", named(), ids=lambda case: "-".join(layer.type for layer in case.network.layers)
)
def test_training_a_named_network_gives_the_references_bits(engine_library: ctypes.CDLL, case: Case) -> None:
    _assert_equal_bits(engine_library, case)


def _assert_equal_bits(engine_library: ctypes.CDLL, case: Case) -> None:
    model = case.compile()
    reference, engine = Trainer(model.image), Engine(engine_library, model.image)
    assert (engine.status, engine.detail) == (0, 0)
    assert engine.checksum() == reference.checksum()
    for x, y in zip(case.x, case.y, strict=True):
        expected, got = reference.train(x.tobytes(), int(y)), engine.train(x.tobytes(), int(y))
        if not np.isfinite(expected.loss):  # float32 that diverges: nothing is promised of it
            assert not np.isfinite(got.loss)
            return
        assert got.loss.tobytes() == expected.loss.tobytes()
        assert got[1:] == expected[1:]
        assert engine.checksum() == reference.checksum()
        assert engine.structures_updated() == reference.structures_updated()
    expected, got = reference.evaluate(case.x[0].tobytes(), 0), engine.evaluate(case.x[0].tobytes(), 0)
    assert got.loss.tobytes() == expected.loss.tobytes()
    assert engine.checksum() == reference.checksum()


@settings(max_examples=max(_CASES // 10, 10), deadline=None, derandomize=True)
@given(case=cases(n_samples=11))
def test_a_network_spread_over_two_memories_gives_the_same_bits(
    engine_library: ctypes.CDLL, case: Case
) -> None:
    """The first region holds only what must lie there; its plan is exact to the byte."""
    fixed = sum(p.buffer.aligned_bytes for p in case.compile().plan.placements if not p.buffer.anywhere)
    model = case.compile(Memory(1 << 20, fixed, (1 << 20,)))
    assert model.plan.region_peaks[0] == fixed
    reference, engine = Trainer(model.image), Engine(engine_library, model.image, *model.plan.region_peaks)
    assert (engine.status, engine.detail) == (0, 0)
    for x, y in zip(case.x, case.y, strict=True):
        expected = reference.train(x.tobytes(), int(y)).loss
        if not np.isfinite(expected):
            return
        assert engine.train(x.tobytes(), int(y)).loss == expected
    assert engine.checksum() == reference.checksum()
