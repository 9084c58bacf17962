"""Promise: a run's id is a hash of all that decides its numbers, and of nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fqtbench.bench.job import epoch_order
from fqtbench.board import BoardModel, load_models
from fqtbench.errors import ImageError, UsageError
from fqtbench.experiment.plan import plan_runs
from fqtbench.experiment.spec import load_suite
from tests.experiment import suites

MODEL = load_models()["nrf52840"]


def _ids(folder: Path, suite: dict[str, Any], model: BoardModel = MODEL) -> list[str]:
    return [run.run_id for run in plan_runs(load_suite(suites.write(folder, suite)), [model])]


def test_the_same_suite_gives_the_same_ids(tmp_path: Path) -> None:
    assert _ids(tmp_path, suites.tiny()) == _ids(tmp_path, suites.tiny(name="other", title="x", deadline_s=5))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"training": suites.TINY["training"] | {"batch": 10}},
        {"dataset": suites.TINY["dataset"] | {"train": 50}},
        {"dataset": suites.TINY["dataset"] | {"seed": 9}},
        {"dataset": suites.TINY["dataset"] | {"rotate": 30}},
        {"dataset": suites.TINY["dataset"] | {"colour": True}},
        {"verify": 0},
    ],
)
def test_whatever_decides_the_numbers_changes_the_id(tmp_path: Path, change: dict[str, Any]) -> None:
    assert _ids(tmp_path, suites.tiny()) != _ids(tmp_path, suites.tiny(**change))


def test_an_option_at_its_default_leaves_the_id_as_it_was(tmp_path: Path) -> None:
    unused = suites.TINY["dataset"] | {"rotate": 0, "colour": False, "subjects": None}
    assert _ids(tmp_path, suites.tiny()) == _ids(tmp_path, suites.tiny(dataset=unused))


def test_images_changed_on_the_way_are_what_the_network_is_made_for(tmp_path: Path) -> None:
    changed = suites.TINY["dataset"] | {"rotate": 15, "colour": True}
    (run,) = plan_runs(load_suite(suites.write(tmp_path, suites.tiny(dataset=changed))), [MODEL])
    assert run.dataset["sample_shape"] == [32, 32, 3]
    assert "turned by 15°" in run.dataset["source"]
    assert run.ref.load().train_x.shape[1:] == (32, 32, 3)


def test_the_board_model_is_part_of_the_id(tmp_path: Path) -> None:
    slower = MODEL.model_copy(update={"clock_hz": 32_000_000})
    assert _ids(tmp_path, suites.tiny()) != _ids(tmp_path, suites.tiny(), slower)


def test_equal_runs_in_one_sweep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suite\.yaml:\d+: the sweep yields the same run twice"):
        _ids(tmp_path, suites.tiny(sweep={"seed": [1, 1]}))


def test_a_network_that_does_not_fit_names_line_layer_and_bytes(tmp_path: Path) -> None:
    network = {
        "layers": [
            {"type": "conv2d", "filters": 500},
            {"type": "global_average_pool"},
            {"type": "fully_connected", "units": 10, "activation": "linear"},
        ]
    }
    with pytest.raises(ImageError, match=r"suite\.yaml:\d+: .*bytes of arena, \d+ more than .*conv2d"):
        _ids(tmp_path, suites.tiny(network=network))


def test_more_samples_than_the_dataset_has_are_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suite\.yaml:\d+: .*training split"):
        _ids(tmp_path, suites.tiny(dataset=suites.TINY["dataset"] | {"train": 1_000_000}))


def test_a_batch_larger_than_the_data_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suite\.yaml:\d+: training\.batch: 64 is more than the 40"):
        _ids(tmp_path, suites.tiny(training={"batch": 64}))


def test_an_epoch_is_a_permutation_without_its_incomplete_batch() -> None:
    order = epoch_order(103, 8, seed=3, epoch=0)
    assert len(order) == 96
    assert len(np.unique(order)) == 96
    assert order.max() < 103
    assert not np.array_equal(order, epoch_order(103, 8, seed=3, epoch=1))
    assert not np.array_equal(order, epoch_order(103, 8, seed=4, epoch=0))
    assert np.array_equal(order, epoch_order(103, 8, seed=3, epoch=0))
