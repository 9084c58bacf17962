"""Suites for tests: small enough that the reference trains them in a fraction of a second."""

import copy
from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "name": "tiny",
    "boards": ["virtual-nrf52840"],
    "dataset": {"name": "fashion-mnist-12k", "train": 40, "test": 20},
    "network": {
        "layers": [
            {"type": "max_pool", "size": 4},
            {"type": "flatten"},
            {"type": "fully_connected", "units": 10, "activation": "linear"},
        ]
    },
    "training": {"epochs": 2, "batch": 8, "learning_rate": 0.02, "calibration_samples": 4},
    "verify": 16,
    "deadline_s": 120,
}


def tiny(**changes: Any) -> dict[str, Any]:
    """Return the tiny suite with top-level keys replaced; a value of None removes the key."""
    suite = copy.deepcopy(TINY) | changes
    return {key: value for key, value in suite.items() if value is not None}


def write(folder: Path, suite: dict[str, Any] | str, name: str = "suite.yaml") -> Path:
    """Write a suite, given as data or as text; returns its path."""
    path = folder / name
    path.write_text(suite if isinstance(suite, str) else yaml.safe_dump(suite, sort_keys=False))
    return path
