"""Profiles of small trainings on a real virtual board, each taken once."""

from pathlib import Path
from typing import Any

import pytest

from fqtbench.board import load_instances, load_models
from fqtbench.experiment.spec import load_suite
from fqtbench.profile.model import Profile
from fqtbench.profile.symbols import FirmwareMap
from fqtbench.profile.take import Request, take_profile
from tests.experiment import suites

NETWORK: dict[str, Any] = {
    "layers": [
        {"type": "max_pool", "size": 2},
        {"type": "conv2d", "filters": 4, "stride": 2},
        {"type": "conv2d", "filters": 6},
        {"type": "global_average_pool"},
        {"type": "fully_connected", "units": 10, "activation": "linear"},
    ]
}
STEPS = 4  # of the mini-batch suites one update
Taken = tuple[Profile, FirmwareMap]


def suite_file(folder: Path, **training: Any) -> Path:
    """Write the suite; `training` replaces keys of its training."""
    tiny = suites.tiny(network=NETWORK)
    return suites.write(folder, suites.tiny(network=NETWORK, training=tiny["training"] | training))


def take(folder: Path, **training: Any) -> Taken:
    """Profile four steps behind two others."""
    models = load_models()
    board = load_instances(models)["virtual-nrf52840"]
    suite = load_suite(suite_file(folder, **training))
    return take_profile(Request(suite, board, models[board.model], after=2, steps=STEPS))


@pytest.fixture(scope="session")
def mini_batch(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Mini-batches of four, uint8 below a float32 head."""
    return take(tmp_path_factory.mktemp("mini-batch"), batch=4, configuration="mixed")


@pytest.fixture(scope="session")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Each gradient is applied at once: the update happens within the backward pass."""
    return take(tmp_path_factory.mktemp("one-by-one"), batch=1)
