"""Promise: the seglearn recordings become the same bytes on every host; no subject is in both splits."""

import hashlib
import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from fqtbench.datasets import Dataset, load, watch_file
from fqtbench.datasets.affine import CLIP_SIGMAS, SCALE, ZERO_POINT, Standardization
from fqtbench.datasets.watch import Arm, load_watch
from fqtbench.datasets.watch_file import Recordings, read_recordings
from fqtbench.errors import UsageError


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    try:
        metadata.distribution("seglearn")
    except metadata.PackageNotFoundError:
        message = "needs the package seglearn (pip install --no-deps seglearn==1.2.5)"
        if os.environ.get("FQTBENCH_TOOLS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    return read_recordings()


def test_ten_subjects_do_seven_exercises_with_each_arm(recordings: Recordings) -> None:
    done = set(
        zip(recordings.subject.tolist(), recordings.exercise.tolist(), recordings.right.tolist(), strict=True)
    )
    assert done == {(s, e, r) for s in range(1, 11) for e in range(7) for r in (False, True)}
    assert len(recordings.values) == len(done)


def test_acceleration_is_around_that_of_gravity(recordings: Recordings) -> None:
    """With rows and columns in the wrong order the median would be 1.35."""
    gravity = [np.linalg.norm(values[:, :3], axis=1).mean() for values in recordings.values]
    assert 0.95 < np.median(gravity) < 1.15


@pytest.mark.parametrize(
    ("arm", "digest"),
    [
        ("left", "dbf186428f867677006427d8b3ec90cc838daae6817d763c9796a2fc64de1d9d"),
        ("right", "35501d311d19209175b38dd4372628d3d3d73c79ae82d10b48c27576d3700a88"),
    ],
)
@pytest.mark.usefixtures("recordings")
def test_every_host_gets_the_same_bytes(arm: str, digest: str) -> None:
    data = load(f"seglearn-{arm}")
    found = hashlib.sha256()
    for array in (data.train_x, data.train_y, data.test_x, data.test_y):
        found.update(array.tobytes())
    assert found.hexdigest() == digest


@pytest.mark.parametrize("arm", ["left", "right"])
@pytest.mark.usefixtures("recordings")
def test_a_watch_dataset_says_what_its_bytes_are(arm: Arm) -> None:
    data = load_watch(arm)
    assert data.train_x.shape[1:] == data.test_x.shape[1:] == (1, 100, 6)
    assert data.train_x.dtype == np.uint8
    assert (data.scale, data.zero_point) == (8 / 255, 128)
    assert data.licence == "BSD-3-Clause"
    assert "seglearn" in data.source
    for labels in (data.train_y, data.test_y):
        assert (np.bincount(labels, minlength=7) > 0).all()
    part = data.subset(70, 21)
    assert (part.scale, part.zero_point) == (data.scale, data.zero_point)


def _windows(data: Dataset) -> tuple[set[bytes], set[bytes]]:
    return {x.tobytes() for x in data.train_x}, {x.tobytes() for x in data.test_x}


def test_no_window_of_a_test_subject_is_in_either_arms_training_set(recordings: Recordings) -> None:
    """With one test subject of ten, each in turn: its windows are the whole test set of both arms."""
    for seed in range(3):
        held_out = np.random.Generator(np.random.PCG64(seed)).permutation(np.arange(1, 11))[:1]
        for arm in ("left", "right"):
            of_subject = (recordings.subject == held_out) & (recordings.right == (arm == "right"))
            n = sum((len(recordings.values[i]) - 100) // 50 + 1 for i in np.flatnonzero(of_subject))
            data = load_watch(arm, n_test_subjects=1, seed=seed)
            train, test = _windows(data)
            assert len(data.test_x) == n
            assert not train & test


@pytest.mark.usefixtures("recordings")
def test_the_split_is_the_same_for_both_arms_and_another_seeds_is_another() -> None:
    one, other = load_watch("left", seed=0), load_watch("left", seed=1)
    assert _windows(one)[1] != _windows(other)[1]
    assert (load_watch("left", seed=0).test_x == one.test_x).all()


@pytest.mark.usefixtures("recordings")
def test_windows_overlap_by_what_the_step_leaves() -> None:
    data = load_watch("left", window=60, step=20)
    assert data.train_x.shape[1:] == (1, 60, 6)
    assert (data.train_x[0, 0, 20:] == data.train_x[1, 0, :40]).all()


@pytest.mark.usefixtures("recordings")
def test_the_left_training_set_is_standardized_and_the_right_arm_shares_its_scales() -> None:
    left, right = load_watch("left"), load_watch("right")
    values = (left.train_x.astype(np.float64) - left.zero_point) * left.scale
    assert np.abs(values.mean(axis=(0, 1, 2))).max() < 0.05
    assert np.abs(values.std(axis=(0, 1, 2)) - 1).max() < 0.1
    mirrored = (right.train_x.astype(np.float64) - right.zero_point) * right.scale
    assert mirrored[..., 0].mean() < -1  # the first axis points the other way on the other wrist


@pytest.mark.parametrize(
    "wrong",
    [{"window": 0}, {"window": 10**6}, {"step": 0}, {"n_test_subjects": 0}, {"n_test_subjects": 10}],
    ids=str,
)
@pytest.mark.usefixtures("recordings")
def test_a_number_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="dataset seglearn"):
        load_watch("left", **wrong)  # type: ignore[arg-type]


def test_quantization_is_to_the_nearest_step_and_clips() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal((3, -1), (0.5, 20), (1000, 2))
    standard = Standardization.of(values)
    back = (standard.quantize(values).astype(np.float64) - ZERO_POINT) * SCALE
    exact = (values - standard.mean) / standard.sigma
    inside = np.abs(exact) < CLIP_SIGMAS - SCALE
    assert inside.sum() > 1900
    assert np.abs(back - exact)[inside].max() <= SCALE / 2 + 1e-12
    assert standard.quantize(np.array([[-1e9, 1e9]])).tolist() == [[0, 255]]


def test_a_standardization_does_not_depend_on_the_order_of_its_values() -> None:
    values = np.random.default_rng(1).normal(size=(5000, 3))
    one, other = Standardization.of(values), Standardization.of(values[::-1])
    assert (one.mean == other.mean).all()
    assert (one.sigma == other.sigma).all()


def test_without_the_file_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"watch_dataset.npy: can't be read.*pip install 'fqtbench\[seglearn\]'"
    ):
        load("seglearn-left", tmp_path)


def test_a_file_that_differs_is_not_even_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the right length, too: nothing but the very bytes of seglearn 1.2.5 gets past the checksum."""
    monkeypatch.setattr(watch_file, "_parse", lambda *_: pytest.fail("a strange file was parsed"))
    path = tmp_path / "watch_dataset.npy"
    for content in (b"", b"\x93NUMPY", bytes(18_118_091)):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="so it isn't read"):
            load("seglearn-right", tmp_path)
