"""Promise: `fqtbench export` writes the network that a run trained, and nothing that its board did not train."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from fqtbench.bench.job import DatasetRef
from fqtbench.errors import ResultError, UsageError
from fqtbench.exchange.npz import load_npz
from fqtbench.exchange.quantized import QuantizedNetwork
from fqtbench.experiment.export import exported_network, find_run, read_run
from fqtbench.experiment.record import EVALUATIONS, WEIGHTS
from tests.experiment import suites

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120


def _python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two runs, trained on stand-in boards."""
    folder = tmp_path_factory.mktemp("export")
    suite = suites.write(folder, suites.tiny(sweep={"seed": [1, 2]}))
    done = _python("tests.experiment.standin_run", str(suite), str(folder / "out"))
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture
def run(results: Path, tmp_path: Path) -> Path:
    """A copy of the results folder; returns the folder of its first attempt at a run."""
    copy = tmp_path / "out"
    shutil.copytree(results, copy)
    return sorted(copy.glob("runs/*/attempt-1"))[0]


def _network(run: Path) -> QuantizedNetwork:
    return exported_network(read_run(find_run(run)))


def test_the_onnx_file_predicts_what_the_board_predicted(run: Path, tmp_path: Path) -> None:
    done = _python(
        "fqtbench.cli", "export", str(run.parent), "--format", "onnx", "--out", str(tmp_path / "net.onnx")
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(io.BytesIO((run / EVALUATIONS).read_bytes()))
    last = table[table.epoch == table.epoch.max()].sort_values("sample")
    dataset = suites.TINY["dataset"]
    test_x = DatasetRef(name=dataset["name"], train=dataset["train"], test=dataset["test"]).load().test_x
    x = np.moveaxis(test_x[last["sample"].to_numpy()], -1, 1).astype(np.float32) * np.float32(1 / 255)
    logits = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"input": x})[0]
    assert len(last) == dataset["test"]
    assert (logits.argmax(axis=1) == last["predicted"].to_numpy()).all()


def test_the_npz_file_holds_the_recorded_weights(run: Path, tmp_path: Path) -> None:
    done = _python("fqtbench.cli", "export", str(run), "--format", "npz", "--out", str(tmp_path / "net.npz"))
    assert done.returncode == 0, done.stderr
    exported = load_npz(tmp_path / "net.npz").layers[-1].weights
    assert exported is not None
    with np.load(run / WEIGHTS, allow_pickle=False) as file:
        recorded = next(file[name] for name in file.files if name.endswith(" weights"))
    assert (exported.reshape(len(exported), -1) == recorded[:, : exported.shape[-1]]).all()


def test_weights_that_are_not_the_boards_are_refused(run: Path) -> None:
    with np.load(run / WEIGHTS, allow_pickle=False) as file:
        arrays = {name: file[name].copy() for name in file.files}
    next(array for name, array in arrays.items() if name.endswith(" weights")).reshape(-1)[0] ^= 1
    np.savez(run / WEIGHTS, allow_pickle=False, **arrays)
    with pytest.raises(ResultError, match=r"the checksum of its recorded tensors is .*, the board's was "):
        _network(run)


def test_a_damaged_image_is_refused(run: Path) -> None:
    sha256 = read_run(run).description["image"]["sha256"]
    path = run.parents[2] / "artifacts" / sha256
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ResultError, match="not the image of that hash"):
        read_run(run)


def test_a_folder_of_several_runs_names_them(results: Path) -> None:
    with pytest.raises(ResultError, match=r"2 runs; name one of them, such as .*attempt-1"):
        find_run(results)


def test_no_run_is_an_error_of_one_line(tmp_path: Path) -> None:
    done = _python("fqtbench.cli", "export", str(tmp_path), "--out", str(tmp_path / "net.onnx"))
    assert done.returncode == ResultError.exit_code
    assert done.stderr.strip().splitlines() == [
        f"fqtbench: {tmp_path}: no recorded run; give runs/<run id> of a results folder"
    ]


def test_a_missing_output_folder_is_said_before_the_work(run: Path, tmp_path: Path) -> None:
    done = _python("fqtbench.cli", "export", str(run), "--out", str(tmp_path / "none" / "net.onnx"))
    assert done.returncode == UsageError.exit_code
    assert "there is no folder" in done.stderr
