"""Promise: recordings in published formats become windows that cross no border; a broken file is a sentence."""

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from fqtbench.datasets import Options, cwru, load
from fqtbench.datasets.cwru import class_of
from fqtbench.datasets.mfcc import mfcc
from fqtbench.datasets.windows import cut
from fqtbench.errors import UsageError


def test_windows_begin_every_step_and_the_rest_is_dropped() -> None:
    values = np.arange(22, dtype=np.uint8).reshape(11, 2)
    found = cut(values, 4, 3)
    assert found.shape == (3, 1, 4, 2)
    assert [window[0, 0, 0] for window in found] == [0, 6, 12]
    assert (found[1, 0] == values[3:7]).all()
    assert cut(values, 12, 1).shape == (0, 1, 12, 2)


# -- CWRU


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("Normal_0.mat", "normal"),
        ("12k_Drive_End_B007_0_118.mat", "B007"),
        ("12k/IR014/170.mat", "IR014"),
        ("or021@6_2.mat", "OR021"),
        ("normal baseline/IR007_1.mat", "IR007"),
        ("0.007 B007/x/118.mat", "B007"),
    ],
)
def test_the_class_of_a_bearing_is_in_its_name_or_its_folders(path: str, fault: str) -> None:
    assert class_of(Path(path)) == fault


@pytest.mark.parametrize("path", ["118.mat", "AB007.mat", "B0071.mat", "abnormal_1.mat"])
def test_a_bearing_without_a_class_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=f"{path}: no class in its name"):
        class_of(Path(path))


def _bearing(path: Path, n: int = 4000, seed: int = 0, **more: Any) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng(seed).normal(0.1, 2, (n, 1))
    savemat(path, {"X118_DE_time": signal, "X118_FE_time": np.zeros((n, 1)), "X118RPM": 1797} | more)
    return signal


def test_bearings_are_split_in_time(tmp_path: Path) -> None:
    """A window of the test set holds nothing that was trained on."""
    signal = _bearing(tmp_path / "12k_B007_0_118.mat")
    _bearing(tmp_path / "normal" / "97.mat", seed=1)
    data = load("cwru", tmp_path, Options(window=100, step=50))
    assert data.classes == ("normal", "B007")
    assert data.train_x.shape == (2 * 59, 1, 100, 1)
    assert data.test_x.shape == (2 * 19, 1, 100, 1)
    assert np.bincount(data.train_y).tolist() == [59, 59]
    values = (
        data.train_x[:59, 0, :, 0].astype(float) - data.zero_point
    ) * data.scale  # files in order of their names
    assert np.corrcoef(values[0], signal[:100, 0])[0, 1] > 0.999
    first_test = data.test_x[data.test_y == 1][0, 0, :, 0].astype(float)
    assert np.corrcoef(first_test, signal[3000:3100, 0])[0, 1] > 0.999
    assert load("cwru", tmp_path, Options(window=512)).train_x.shape[2] == 512


def test_of_two_drive_end_arrays_the_one_with_the_files_number_is_read(tmp_path: Path) -> None:
    """As in the centre's 99.mat."""
    other = np.random.default_rng(5).normal(0, 1, (4000, 1))
    _bearing(tmp_path / "Normal_99.mat", X098_DE_time=other, X099_DE_time=other[::-1].copy())
    data = load("cwru", tmp_path, Options(window=100))
    assert np.corrcoef(data.train_x[0, 0, :, 0].astype(float), other[::-1][:100, 0])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as a MATLAB file"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "can't be read as a MATLAB file|no array"),
        (None, "can't be read as a MATLAB file"),
    ],
    ids=["empty", "zeros", "cut"],
)
def test_a_broken_mat_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "B007.mat"
    _bearing(path)
    path.write_bytes(path.read_bytes()[:9000] if content is None else content)
    with pytest.raises(UsageError, match=f"B007.mat: ({message})"):
        load("cwru", tmp_path)


def test_a_mat_file_without_what_is_needed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"0 \.mat files below it"):
        load("cwru", tmp_path)
    savemat(tmp_path / "B007.mat", {"X118_FE_time": np.zeros((9, 1))})
    with pytest.raises(UsageError, match="no array whose name ends in _DE_time"):
        load("cwru", tmp_path)
    savemat(tmp_path / "B007.mat", {"X118_DE_time": np.full((4096, 1), np.inf)})
    with pytest.raises(UsageError, match="no array of finite numbers"):
        load("cwru", tmp_path)
    savemat(tmp_path / "B007.mat", {"X118_DE_time": "text"})
    with pytest.raises(UsageError, match="no array of finite numbers"):
        load("cwru", tmp_path)
    savemat(tmp_path / "B007.mat", {"X118_DE_time": np.zeros((4095, 1))})
    with pytest.raises(UsageError, match="4095 samples; 4 windows of 1024 are needed"):
        load("cwru", tmp_path)
    monkeypatch.setattr(cwru, "_MOST_VALUES", 1000)
    with pytest.raises(UsageError, match="more than 1000"):
        load("cwru", tmp_path)
    monkeypatch.setattr(cwru, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'fqtbench\[mat\]'"):
        load("cwru", tmp_path)


# -- DaLiAc


def _subject(folder: Path, number: int, activities: list[tuple[int, int]], separator: str = ",") -> None:
    """Write a subject's file: of each activity so many rows; the first channel is the subject, others noise."""
    rng = np.random.default_rng(number)
    lines = []
    for activity, n in activities:
        for row in rng.normal(size=(n, 23)):
            lines.append(separator.join([str(number), *(f"{value:.6f}" for value in row), str(activity)]))
    (folder / f"dataset_{number}.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def daliac(tmp_path: Path) -> Path:
    for number in range(1, 9):
        _subject(tmp_path, number, [(1, 50), (13, 45), (1, 19)], "," if number % 2 else "\t")
    return tmp_path


def _subjects(samples: np.ndarray) -> list[int]:
    return np.unique(samples[:, 0, :, 0]).tolist()


def test_windows_of_daily_activities_cross_no_border(daliac: Path) -> None:
    data = load("daliac", daliac, Options(window=20, step=10))
    assert data.train_x.shape == (6 * (4 + 3), 1, 20, 24)
    assert data.test_x.shape == (2 * (4 + 3), 1, 20, 24)
    assert np.bincount(data.train_y)[[0, 12]].tolist() == [24, 18]
    assert len(data.classes) == 13
    assert data.classes[12] == "rope jumping"
    assert not set(_subjects(data.train_x)) & set(_subjects(data.test_x))


def test_daily_activities_of_chosen_subjects_keep_their_bytes(daliac: Path) -> None:
    plain = load("daliac", daliac, Options(window=20, step=10))
    chosen = load("daliac", daliac, Options(window=20, step=10, subjects=(1,), test_subjects=(2, 3)))
    assert len(chosen.train_x) == 7
    assert len(chosen.test_x) == 14
    every = {x.tobytes() for x in np.concatenate([plain.train_x, plain.test_x])}
    assert {x.tobytes() for x in np.concatenate([chosen.train_x, chosen.test_x])} <= every
    with pytest.raises(
        UsageError, match="dataset daliac: subjects: no subject 9; it has 1, 2, 3, 4, 5, 6, 7, 8"
    ):
        load("daliac", daliac, Options(subjects=(9,)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",".join(["0.5"] * 24), "can't be read|24 columns"),
        (",".join(["0.5"] * 24 + ["14"]), "activity 14 in row 115; they are 1 to 13"),
        (",".join(["0.5"] * 24 + ["0"]), "activity 0 in row 115"),
        (",".join(["0.5"] * 24 + ["1.5"]), "activity 1.5"),
        (",".join(["0.5"] * 23 + ["nan", "1"]), "finite numbers"),
        (",".join(["0.5"] * 23 + ["x", "1"]), "can't be read"),
        ("\xff", "can't be read"),
    ],
    ids=["cut", "14", "0", "1.5", "nan", "text", "bytes"],
)
def test_a_broken_line_of_daily_activities_is_refused(daliac: Path, line: str, message: str) -> None:
    with (daliac / "dataset_3.txt").open("a", encoding="latin-1") as file:
        file.write(line)
    with pytest.raises(UsageError, match=f"dataset_3.txt: .*({message})"):
        load("daliac", daliac, Options(window=20))


def test_files_of_daily_activities_must_be_enough(daliac: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no activity lasts for a window of 1024 samples"):
        load("daliac", daliac)
    (daliac / "dataset_3.txt").write_text("")
    with pytest.raises(UsageError, match=r"dataset_3\.txt: can't be read: it is empty"):
        load("daliac", daliac)
    with pytest.raises(UsageError, match=r"0 files dataset_N\.txt, one per subject; at least 2"):
        load("daliac", tmp_path / "nowhere")


# -- Speech Commands


def _spoken(path: Path, n: int = 16_000, rate: int = 16_000, channels: int = 1, width: int = 2) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(n).integers(-9000, 9000, n).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return samples


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    for word, base in (("no", 0), ("yes", 100)):
        for number in range(4):
            _spoken(tmp_path / word / f"abc{number}_nohash_0.wav", 15_000 + base + number)
    _spoken(tmp_path / "_background_noise_" / "hum.wav", 20_000)
    (tmp_path / "testing_list.txt").write_text("yes/abc0_nohash_0.wav\nno/abc1_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("yes/abc3_nohash_0.wav\n")
    return tmp_path


def test_words_are_split_by_the_lists(speech: Path) -> None:
    data = load("speech-commands", speech)
    assert data.classes == ("no", "yes")
    assert data.train_x.shape == (5, 49, 10, 1)
    assert data.train_y.tolist() == [0, 0, 0, 1, 1]
    assert data.test_y.tolist() == [0, 1]
    values = (data.train_x.astype(float) - data.zero_point) * data.scale
    assert np.abs(values.mean(axis=(0, 1, 3))).max() < 0.1


def test_a_short_word_is_followed_by_silence_and_a_long_one_cut(speech: Path) -> None:
    plain = load("speech-commands", speech)
    samples = _spoken(speech / "no" / "abc1_nohash_0.wav", 25_000)
    changed = load("speech-commands", speech)
    assert (changed.test_x[1] == plain.test_x[1]).all()
    loud = mfcc(samples[None, :16_000])[0, :, 0]
    assert np.corrcoef(loud, changed.test_x[0, :, 0, 0].astype(float))[0, 1] > 0.9
    silence = mfcc(np.zeros((1, 16_000), np.int16))
    assert not silence.any()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"rate": 8000}, "1 channels of 16 bits at 8000 Hz, not one of 16 bits at 16000 Hz"),
        ({"channels": 2}, "2 channels of 16 bits"),
        ({"width": 1}, "1 channels of 8 bits"),
    ],
)
def test_sound_of_another_form_is_refused(speech: Path, form: dict[str, int], message: str) -> None:
    _spoken(speech / "no" / "abc0_nohash_0.wav", **form)
    with pytest.raises(UsageError, match=rf"abc0_nohash_0\.wav: {message}"):
        load("speech-commands", speech)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "can't be read as a WAV file: it is cut short"),
        (lambda content: content[:20], "can't be read as a WAV file"),
        (lambda content: content[:-100], "cut short: .* bytes of sound"),
        (lambda content: b"RIFX" + content[4:], "can't be read as a WAV file"),
        (
            lambda content: content[:20] + struct.pack("<H", 85) + content[22:],
            "can't be read as a WAV file: unknown",
        ),
    ],
    ids=["empty", "header", "sound", "no RIFF", "MP3"],
)
def test_a_broken_wav_file_is_refused(speech: Path, change: Any, message: str) -> None:
    path = speech / "no" / "abc2_nohash_0.wav"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UsageError, match=f"abc2_nohash_0.wav: {message}"):
        load("speech-commands", speech)


def test_lists_and_folders_must_fit(speech: Path, tmp_path: Path) -> None:
    (speech / "validation_list.txt").write_text("yes/../../../etc/passwd\n")
    with pytest.raises(UsageError, match=r"'yes/\.\./\.\./\.\./etc/passwd' is in a list but not here"):
        load("speech-commands", speech)
    (speech / "validation_list.txt").write_text("")
    (speech / "testing_list.txt").write_text("")
    with pytest.raises(UsageError, match="8 training and 0 test recordings; both are needed"):
        load("speech-commands", speech)
    (speech / "testing_list.txt").unlink()
    with pytest.raises(UsageError, match=r"testing_list\.txt: can't be read"):
        load("speech-commands", speech)
