"""Promise: a wrong suite is refused with key, file, line and nearest known name; a right one expands to its runs."""

from pathlib import Path
from typing import Any

import pytest

from fqtbench.errors import FqtbenchError, UsageError
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.paths import share
from tests.experiment import suites

GOOD = """\
name: wrong
boards: [virtual-nrf52840]
dataset:
  name: fashion-mnist-12k
  train: 40
network:
  layers:
    - {type: flatten}
    - {type: fully_connected, units: 10, activation: linear}
training:
  epochs: 1
  batch: 8
sweep:
  seed: [1, 2]
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("  batch: 8", "  bach: 8", 12, "unknown key training.bach; did you mean batch?"),
        ("dataset:", "datset:", 3, "unknown key datset; did you mean dataset?"),
        (
            "fashion-mnist-12k",
            "fashion-mnst-12k",
            4,
            "unknown dataset fashion-mnst-12k; did you mean fashion-mnist",
        ),
        ("type: flatten", "type: flaten", 8, "unknown type flaten; did you mean flatten?"),
        ("units: 10", "unit: 10", 9, "unknown key network.layers.1.unit; did you mean units?"),
        ("{type: flatten}", "{size: 2}", 8, "its type is missing"),
        ("epochs: 1", "epochs: 0", 11, "training.epochs"),
        ("epochs: 1", "epochs: many", 11, "training.epochs"),
        ("batch: 8", "batch: 4\n  normalization: standardize", 10, "at least 8 samples"),
        ("activation: linear", "activation: relu", 6, "the last layer must be `fully_connected`"),
        ("  seed: [1, 2]", "  sed: [1, 2]", 14, "unknown key sed; did you mean seed?"),
        ("  seed: [1, 2]", "  training.bach: [8]", 14, "unknown key training.bach; did you mean batch?"),
        ("  seed: [1, 2]", "  training.batch: [8, -1]", 14, "training.batch"),
        ("  seed: [1, 2]", "  network.layers.7.units: [1]", 14, "7 is no index into a list of 2"),
        ("  seed: [1, 2]", "  dataset.name: [emnist]", 14, "unknown dataset emnist"),
        ("  seed: [1, 2]", "  seed: []", 14, "sweep.seed"),
        ("  train: 40", "  train: 40\n  train: 50", 6, "train is there twice"),
        ("  train: 40", "  train: 40\n  rotat: 9", 6, "unknown key dataset.rotat; did you mean rotate?"),
        ("  train: 40", "  rotate: 1000", 5, "dataset.rotate: input should be less than or equal to 360"),
        ("  seed: [1, 2]", "  dataset.step: [3]", 14, "dataset fashion-mnist-12k: step does not apply to it"),
        (
            "  train: 40",
            "  size: 9",
            5,
            "dataset fashion-mnist-12k: size does not apply to it; it knows colour, mirror, rotate",
        ),
        ("name: wrong\n", "", 1, "name is missing"),
        ("name: wrong", "name: ../wrong", 1, "name"),
        ("  epochs: 1", "  epochs: [1", 12, "not YAML"),
        (GOOD, "- a list", 1, "a suite is a mapping"),
        (GOOD, "", 1, "a suite is a mapping"),
    ],
)
def test_a_wrong_suite_is_one_line_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, expected: str
) -> None:
    assert old in GOOD
    path = suites.write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert expected in message
    assert "\n" not in message


HOSTILE = (b"\xff\xfe\x00", b"a: &a [*a]\n", b"x" * (2 << 20), b"name: !!python/object:os.x {}", b"[" * 5000)


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content)
    with pytest.raises(FqtbenchError, match="hostile"):
        load_suite(path)


def test_a_sweep_is_the_cartesian_product_in_the_order_written(tmp_path: Path) -> None:
    sweep: dict[str, Any] = {"training.batch": [8, 10], "network.layers.2.units": [10], "seed": [1, 2]}
    suite = load_suite(suites.write(tmp_path, suites.tiny(sweep=sweep)))
    assert [v.label for v in suite.variants] == [
        "batch=8, units=10, seed=1",
        "batch=8, units=10, seed=2",
        "batch=10, units=10, seed=1",
        "batch=10, units=10, seed=2",
    ]
    assert [v.spec.training.batch for v in suite.variants] == [8, 8, 10, 10]
    assert [v.spec.seed for v in suite.variants] == [1, 2, 1, 2]


def test_a_sweep_may_set_keys_that_the_suite_leaves_out(tmp_path: Path) -> None:
    suite = load_suite(suites.write(tmp_path, suites.tiny(training=None, sweep={"training.epochs": [3]})))
    assert suite.variants[0].spec.training.epochs == 3


def test_a_comment_does_not_change_a_suite_but_a_value_does(tmp_path: Path) -> None:
    base = load_suite(suites.write(tmp_path, GOOD))
    assert load_suite(suites.write(tmp_path, f"# hello\n{GOOD}")).sha256 == base.sha256
    assert load_suite(suites.write(tmp_path, GOOD.replace("epochs: 1", "epochs: 2"))).sha256 != base.sha256


@pytest.mark.parametrize("path", sorted(share("experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_suites_are_valid_and_found_by_name(path: Path) -> None:
    assert load_suite(find_suite(path.stem)).spec.name == path.stem


def test_an_unknown_suite_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean quickstart"):
        find_suite("quikstart")
