"""From a recorded run to the network that it trained, for other programs.

A run keeps its image, and the trained tensors that the board sent; the ranges of activations, which follow the data,
stay on the board. The reference computes them again, step by step as the board did, and every trained tensor must
then be the board's, bit for bit: nothing is exported that the board did not train.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.bench.job import DatasetRef, epoch_order
from fqtbench.datasets import Dataset
from fqtbench.errors import ImageError, ResultError
from fqtbench.exchange.from_image import quantized_network
from fqtbench.exchange.quantized import QuantizedNetwork
from fqtbench.experiment.record import RESULT, WEIGHTS
from fqtbench.experiment.results import load_results
from fqtbench.experiment.spec import RunSpec
from fqtbench.experiment.store import JOURNAL
from fqtbench.training import image as im
from fqtbench.training.arithmetic import ARITH_ID
from fqtbench.training.reference import Trainer

Advance = Callable[[int, int], None]  # steps done, steps in all
_REPORT_STEPS: Final = 64


@dataclass(frozen=True)
class Recorded:
    """What a run's folder and its results folder keep: image, trained tensors by number, and the run's description."""

    folder: Path
    description: dict[str, Any]
    image: bytes
    tensors: dict[int, bytes]


def find_run(folder: Path) -> Path:
    """Return the attempt that `folder` means: itself, that of a run, or of the only run of a results folder."""
    if (folder / RESULT).is_file():
        return folder
    if (folder / JOURNAL).is_file():
        runs = [run.folder for run in load_results(folder).runs]
    else:
        runs = sorted(path.parent for path in folder.glob(f"attempt-*/{RESULT}"))
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise ResultError(f"{folder}: no recorded run; give runs/<run id> of a results folder")
    some = ", ".join(str(run) for run in runs[:3])
    raise ResultError(f"{folder}: {len(runs)} runs; name one of them, such as {some}")


def read_run(folder: Path) -> Recorded:
    """Read what was recorded in an attempt's folder; ResultError says what is missing or doesn't belong to it."""
    results = folder.resolve().parents[2]
    try:
        description = json.loads((folder / RESULT).read_text("utf-8"))
        sha256 = str(description["image"]["sha256"])
        image = (results / "artifacts" / Path(sha256).name).read_bytes()
        with np.load(folder / WEIGHTS, allow_pickle=False) as file:
            arrays = [file[name] for name in file.files]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ResultError(f"{folder}: a recorded file is missing or unreadable: {error}") from error
    if hashlib.sha256(image).hexdigest() != sha256:
        raise ResultError(f"{results}/artifacts/{sha256}: not the image of that hash; restore it from a copy")
    return Recorded(folder, description, image, _by_number(folder, image, arrays))


def _by_number(folder: Path, image: bytes, arrays: list[NDArray[Any]]) -> dict[int, bytes]:
    """Return the bytes of the trained tensors by number: the file has them in the image's order."""
    tensors = im.Image.parse(image).tensors
    numbers = [int(number) for number in np.flatnonzero(tensors["flags"] & im.TRAINED_STATE)]
    if len(numbers) != len(arrays):
        raise ResultError(
            f"{folder / WEIGHTS}: {len(arrays)} tensors, the run's image has {len(numbers)} trained ones"
        )
    return {number: array.tobytes() for number, array in zip(numbers, arrays, strict=True)}


def exported_network(run: Recorded, dataset_root: Path | None, advance: Advance) -> QuantizedNetwork:
    """Return the network of a run.

    Trains it again by the reference (some milliseconds a step), which reports to `advance`. Raises ResultError if the
    samples aren't the run's, or the reference ends elsewhere than the board did.
    """
    trainer = _trained_again(run, dataset_root, advance)
    for number, data in run.tensors.items():
        if trainer.tensor_bytes(number) != data:
            raise ResultError(
                f"{run.folder}: tensor {number} that the board sent is not what the reference computes; its run "
                "can't be trusted: repeat it with a larger `verify`, and look at its line and supply"
            )
    return quantized_network(run.image, run.tensors, trainer.state.tensor_state)


def _trained_again(run: Recorded, dataset_root: Path | None, advance: Advance) -> Trainer:
    try:
        spec = RunSpec.model_validate(run.description["identity"]["spec"])
        samples_sha256 = run.description["identity"]["samples"]
        trainer = Trainer(run.image)
    except (ValueError, KeyError, TypeError, ImageError) as error:
        raise ResultError(
            f"{run.folder}: recorded by another version of fqtbench (this one's arithmetic is {ARITH_ID}): "
            f"{str(error).splitlines()[0]}; export it with that version"
        ) from error
    data = _samples(run, spec, dataset_root)
    if data.sha256 != samples_sha256:
        raise ResultError(
            f"{run.folder}: dataset {data.name} is not the one of this run; give it by --dataset-root"
        )
    batch, epochs = spec.training.batch, spec.training.epochs
    orders = [epoch_order(len(data.train_x), batch, spec.seed, epoch) for epoch in range(epochs)]
    order = np.concatenate(orders)
    for step, index in enumerate(order, 1):
        trainer.train(data.train_x[index].tobytes(), int(data.train_y[index]))
        if step % _REPORT_STEPS == 0 or step == len(order):
            advance(step, len(order))
    return trainer


def _samples(run: Recorded, spec: RunSpec, dataset_root: Path | None) -> Dataset:
    chosen = spec.dataset
    if chosen.path is not None and dataset_root is None:
        raise ResultError(
            f"{run.folder}: its suite read dataset {chosen.name} from {chosen.path}; give that folder by --dataset-root"
        )
    root = None if dataset_root is None else dataset_root.resolve()
    return DatasetRef(
        name=chosen.name, root=root, train=chosen.train, test=chosen.test, seed=chosen.seed
    ).load()
