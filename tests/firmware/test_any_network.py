"""Promise: the firmware on every virtual board computes the reference's bits, whatever the network."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fqtbench.board import BoardModel
from fqtbench.training.reference import Trainer
from tests.boards import VIRTUAL
from tests.engine.networks import Case, cases

pytest.importorskip("unicorn")
from benchmarks.inline_board import inline_board

pytestmark = pytest.mark.timeout(900)

_CASES = max(int(os.environ.get("FQTBENCH_ENGINE_CASES", "60")) // 15, 4)


@pytest.mark.parametrize("model", VIRTUAL, ids=lambda model: model.name)
@settings(max_examples=_CASES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(n_samples=12))
def test_any_network_gives_the_references_bits(model: BoardModel, case: Case) -> None:
    image = case.compile().image
    reference = Trainer(image)
    samples = [(x.tobytes(), int(y)) for x, y in zip(case.x, case.y, strict=True)]
    with inline_board(image, model) as (_, device):
        for (sample, label), step in zip(samples, device.train(samples), strict=True):
            expected = reference.train(sample, label)
            if not np.isfinite(expected.loss):  # float32 that diverges: nothing is promised of it
                return
            assert np.float32(step.loss).tobytes() == expected.loss.tobytes()
            assert (step.predicted, step.updated) == expected[1:]
            assert step.structures == reference.structures_updated()
        assert device.checksum().crc32 == reference.checksum()
