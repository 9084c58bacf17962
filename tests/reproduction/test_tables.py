"""Promise: published values are shown as published, and cycles of partial updates are those that a board would take."""

import numpy as np
import pandas as pd
import pytest

from fqtbench.reproduction.published import published
from fqtbench.reproduction.tables import _cycles


def test_published_values_are_the_papers() -> None:
    """Spot checks against its tables."""
    accuracy = published("transfer", "test_accuracy").set_index(["task", "configuration"]).value
    assert accuracy["cifar10", "uint8"] == 85.8
    assert accuracy["cifar100", "float32"] == 54.5
    ram = published("transfer", "ram_bytes").set_index(["task", "configuration"]).value
    assert ram["cifar10", "uint8"] == 339.72
    assert published("partial", "backward_speedup").value.max() == 8.70
    assert set(published("transfer", "step_s").unit) == {"ms"}


def test_cycles_are_read_off_the_line_through_a_boards_steps() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 40, (50, 2))
    steps = pd.DataFrame({"updated.a": counts[:, 0], "updated.b": counts[:, 1]})
    board = steps.assign(backward_cycles=1000 + 70 * counts[:, 0] + 9 * counts[:, 1])
    long_run = pd.DataFrame({"updated.a": [10, 20], "updated.b": [4, 8]})
    assert _cycles(board, long_run) == pytest.approx(1000 + 70 * 15 + 9 * 6)
