"""Seven shoulder exercises from a smartwatch's six inertial channels; the other arm is a natural domain shift.

The split is by subject, the same for both arms: nobody whose windows are tested has been trained on, with either arm.
Both arms are standardized with the left arm's training subjects, since a device that learned from left arms keeps that
preprocessing when it meets a right one.
"""

from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets import watch_file
from fqtbench.datasets.affine import SCALE, ZERO_POINT, Standardization
from fqtbench.datasets.dataset import Dataset, Labels, Samples
from fqtbench.datasets.options import NO_OPTIONS, Options
from fqtbench.datasets.split import choose_subjects
from fqtbench.datasets.watch_file import CHANNELS, CLASSES, Recordings
from fqtbench.errors import UsageError

Arm = Literal["left", "right"]

_WINDOW: Final = 2 * watch_file.RATE_HZ
_STEP: Final = _WINDOW // 2


def load_watch(
    arm: Arm,
    root: Path | None = None,
    *,
    window: int = _WINDOW,
    step: int = _STEP,
    n_test_subjects: int = 3,
    seed: int = 0,
    options: Options = NO_OPTIONS,
) -> Dataset:
    """Return windows of `window` samples at 50 Hz, `step` apart, as maps (1, window, 6).

    `seed` draws the `n_test_subjects` of 10 subjects whose windows are the test set. A window lies within one
    recording; what is left at its end is dropped. Values are in units of σ, clipped at ±4 σ. `options` may set window,
    step and whose recordings are trained on and tested; what the values are standardized by stays as without them, so
    that a network can go from one choice of subjects to another. Raises UsageError without the file, see
    `read_recordings`, or if a number is out of range.
    """
    if options.window:
        window, step = options.window, max(1, options.window // 2)
    step = options.step or step
    recordings = watch_file.read_recordings(root)
    subjects = np.unique(recordings.subject)
    shortest = min(len(values) for values in recordings.values)
    if not 1 <= window <= shortest or step < 1:
        raise UsageError(
            f"dataset seglearn: window {window}, step {step}: at least 1, a window at most {shortest}"
        )
    if not 1 <= n_test_subjects < len(subjects):
        raise UsageError(
            f"dataset seglearn: {n_test_subjects} test subjects: 1 to {len(subjects) - 1} are possible"
        )
    held_out = np.random.Generator(np.random.PCG64(seed)).permutation(subjects)[:n_test_subjects]
    left_train = np.flatnonzero(~recordings.right & ~np.isin(recordings.subject, held_out))
    standard = Standardization.of(np.concatenate([recordings.values[index] for index in left_train]))
    trained, tested = choose_subjects(f"seglearn-{arm}", options, subjects, held_out)
    of_arm = recordings.right == (arm == "right")
    train = np.flatnonzero(of_arm & np.isin(recordings.subject, trained))
    test = np.flatnonzero(of_arm & np.isin(recordings.subject, tested))
    train_x, train_y = _windows(recordings, train, standard, window, step)
    test_x, test_y = _windows(recordings, test, standard, window, step)
    return Dataset(
        f"seglearn-{arm}",
        CLASSES,
        train_x,
        train_y,
        test_x,
        test_y,
        watch_file.LICENCE,
        watch_file.SOURCE,
        recordings.sha256,
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _windows(
    recordings: Recordings, chosen: NDArray[np.int64], standard: Standardization, window: int, step: int
) -> tuple[Samples, Labels]:
    """Cut the recordings `chosen` into windows; (n, 1, window, 6) and (n,)."""
    samples, labels = [], []
    for index in chosen:
        quantized = standard.quantize(recordings.values[index])
        cut = np.lib.stride_tricks.sliding_window_view(quantized, (window, len(CHANNELS)))[::step]
        samples.append(cut)
        labels.append(np.full(len(cut), recordings.exercise[index], np.uint16))
    return np.concatenate(samples), np.concatenate(labels)
