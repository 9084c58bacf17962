"""Promise: turned and coloured images are the same bytes on every host; what a dataset can't use is refused."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fqtbench.bench.job import DatasetRef
from fqtbench.datasets import NO_OPTIONS, Dataset, Options, load, transform
from fqtbench.datasets.colour import colour, textures
from fqtbench.datasets.integers import cos_sin
from fqtbench.datasets.packages import SEGLEARN, Package
from fqtbench.datasets.rotate import rotate
from fqtbench.errors import UsageError


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    return load("fashion-mnist-12k").subset(200, 100)


def _digest(data: Dataset) -> str:
    found = hashlib.sha256()
    for array in (data.train_x, data.train_y, data.test_x, data.test_y):
        found.update(array.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({"mirror": True, "rotate": 30}, "c75e783ef987e74949b777fa3464c141ad9dad8fe9af6577440bfd658fcbd6ca"),
        ({"rotate": 30}, "cd17738ca497fc6238a1b80e9be2f339aebe1fe0a006ff593e4b62a5ca465d07"),
        ({"rotate": -7.5}, "7f5214132dc37e60cecc9e6073e0f11c0730fdd8dbd96720176571c38ec1ee68"),
        ({"colour": True}, "4128b97e62fdd457c062fb918428fdb412b0d824c3cc1bf96d6f134bd1a07180"),
        ({"rotate": 45, "colour": True}, "d33b311c7c9b2e99f82c902a5f03945c7cf1387f66458676d55ce147ffe0c25e"),
    ],
    ids=str,
)
def test_every_host_gets_the_same_bytes(fashion: Dataset, options: dict[str, Any], digest: str) -> None:
    assert _digest(transform(fashion, Options(**options), 3)) == digest


def test_without_options_nothing_changes(fashion: Dataset) -> None:
    assert transform(fashion, NO_OPTIONS, 3) is fashion
    assert DatasetRef(name="idx").model_dump(mode="json").keys() == {"name", "root", "train", "test", "seed"}


@pytest.mark.parametrize("options", [{"rotate": 20}, {"colour": True}], ids=str)
def test_a_part_of_the_changed_is_the_changed_part(options: dict[str, Any]) -> None:
    whole = load("fashion-mnist-12k", None, Options(**options), 5).subset(50, 20, 5)
    ref = DatasetRef(name="fashion-mnist-12k", train=50, test=20, seed=5, **options)
    part = ref.load()
    assert _digest(whole) == _digest(part)
    assert _digest(DatasetRef.model_validate_json(ref.model_dump_json()).load()) == _digest(part)


def test_the_source_says_what_was_done(fashion: Dataset) -> None:
    source = transform(fashion, Options(rotate=30, colour=True), 3).source
    assert "turned by 30°" in source
    assert "procedural colour textures, seed 3" in source


@pytest.mark.parametrize("degrees", [90, 180, 270, -90, 360])
def test_quarter_turns_are_exact(degrees: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 2)).astype(np.uint8)
    assert (rotate(images, degrees) == np.rot90(images, degrees // 90, (1, 2))).all()


def test_mirrored_images_are_from_right_to_left(fashion: Dataset) -> None:
    mirrored = transform(fashion, Options(mirror=True), 0)
    assert (mirrored.train_x[:, :, 0] == fashion.train_x[:, :, -1]).all()
    assert "from right to left" in mirrored.source


def test_a_turn_is_counter_clockwise_about_the_centre() -> None:
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 8] = 200  # the middle of the right edge
    turned = rotate(image, 45)[0, ..., 0].astype(int)
    row, column = np.unravel_index(turned.argmax(), turned.shape)
    assert (row, column) == (1, 7)  # up and to the right, 4·√½ ≈ 2.8 from the centre each way


@pytest.mark.parametrize("degrees", [1.0, 30.0, 45.0, 133.7, -61.0])
def test_interpolation_is_that_of_floats_to_a_step(degrees: float) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 11, 14, 3)).astype(np.uint8)
    turned = rotate(images, degrees, background=7)
    angle = math.radians(degrees)
    padded = np.pad(images.astype(float), ((0, 0), (30, 30), (30, 30), (0, 0)), constant_values=7)
    y, x = np.mgrid[:11, :14] - np.array([5, 6.5])[:, None, None]
    source_y = math.cos(angle) * y + math.sin(angle) * x + 35
    source_x = math.cos(angle) * x - math.sin(angle) * y + 36.5
    top, left = np.floor(source_y).astype(int), np.floor(source_x).astype(int)
    v, u = (source_y - top)[..., None], (source_x - left)[..., None]
    expected = (1 - v) * ((1 - u) * padded[:, top, left] + u * padded[:, top, left + 1]) + v * (
        (1 - u) * padded[:, top + 1, left] + u * padded[:, top + 1, left + 1]
    )
    assert np.abs(turned - expected).max() < 0.5 + 2 * 255 / 256  # coordinates are rounded to 1/256 pixel
    assert np.abs(turned - expected).mean() < 0.6


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 133.7, -1, 359.999])
def test_cosine_and_sine_are_rounded_to_nearest(degrees: float) -> None:
    found = cos_sin(degrees, 40)
    expected = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    assert np.abs(np.array(found) - np.array(expected) * 2**40).max() < 0.51


def test_textures_are_coloured_and_each_its_own() -> None:
    found = textures(np.arange(1, 21, dtype=np.uint64) * np.uint64(2654435761)).astype(int)
    assert found.shape == (20, 32, 32, 3)
    assert np.ptp(found, axis=-1).mean() > 20  # colour
    assert found.std(axis=(1, 2)).mean() > 10  # structure
    assert np.abs(found[1:] - found[:-1]).mean() > 20


def test_the_blend_is_the_difference_of_texture_and_image(fashion: Dataset) -> None:
    """Where the image is black the texture shows, where it is white its complement."""
    inked = np.zeros((1, 32, 32, 1), np.uint8)
    inked[0, 8:24, 8:24] = 255
    found = colour(inked, 0)[0].astype(int)
    inside, edge = found[8:24, 8:24], found[7:25, 7:25]
    assert np.abs(255 - inside[0] - edge[0, 1:-1]).mean() < 25  # the texture goes on across the edge
    assert colour(fashion.train_x[:20], 0).shape == (20, 32, 32, 3)
    border = colour(fashion.train_x[:1], 0)[0, :2].astype(int)  # what was padded: texture alone
    assert border.std() > 2


def test_another_seed_gives_other_textures(fashion: Dataset) -> None:
    assert not (colour(fashion.train_x[:5], 0) == colour(fashion.train_x[:5], 1)).all()


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (1, 33, 8, 1)])
def test_only_small_grey_images_are_coloured(fashion: Dataset, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="colour: needs grey images of at most 32×32"):
        colour(np.zeros(shape, np.uint8), 0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spoken-digits", {"rotate": 3}, "rotate does not apply to it; it has no options"),
        ("spoken-digits", {"subjects": [1]}, "subjects does not apply"),
        ("seglearn-left", {"colour": True}, "colour does not apply to it; it knows step, subjects, test_subjects"),
        ("cifar10", {"colour": True}, "colour does not apply to it; it knows mirror, rotate"),
        ("fashion-mnist-12k", {"size": 8}, "size does not apply to it; it knows colour, mirror, rotate"),
    ],
)  # fmt: skip
def test_an_option_that_a_dataset_does_not_know_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"dataset {name}: {message}"):
        load(name, None, Options(**options))


@pytest.mark.parametrize(
    "wrong",
    [{"rotate": math.nan}, {"rotate": 361}, {"size": 0}, {"subjects": []}, {"window": -1}, {"turn": 3}],
    ids=str,
)
def test_an_option_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options(**wrong)


# -- subjects


def test_subjects_are_trained_on_and_tested_as_asked(fetched: Callable[[Package], Path]) -> None:
    root = fetched(SEGLEARN)
    plain = load("seglearn-left", root)
    chosen = load("seglearn-left", root, Options(subjects=(1, 2), test_subjects=(3,)))
    others = load("seglearn-left", root, Options(test_subjects=(3,)))
    assert _windows(chosen.test_x) == _windows(others.test_x)
    assert not _windows(others.train_x) & _windows(others.test_x)
    assert _windows(chosen.train_x) < _windows(others.train_x)
    every = _windows(plain.train_x) | _windows(plain.test_x)  # the same bytes: the standardization stays
    assert _windows(others.train_x) | _windows(others.test_x) == every
    assert load("seglearn-left", root, Options(window=60, step=20)).train_x.shape[1:] == (1, 60, 6)
    half = load("seglearn-left", root, Options(window=60))
    assert (half.train_x[0, 0, 30:] == half.train_x[1, 0, :30]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subjects": (11,)}, "no subject 11; it has 1, 2"),
        ({"subjects": (1, 2), "test_subjects": (2,)}, "subject 2 is both in subjects and in test_subjects"),
        ({"test_subjects": tuple(range(1, 11))}, "leave nobody to train on or to test"),
    ],
)
def test_a_choice_of_subjects_that_can_not_be_is_refused(
    fetched: Callable[[Package], Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"dataset seglearn-left: .*{message}"):
        load("seglearn-left", fetched(SEGLEARN), Options(**options))


def _windows(samples: np.ndarray[Any, Any]) -> set[bytes]:
    return {x.tobytes() for x in samples}
