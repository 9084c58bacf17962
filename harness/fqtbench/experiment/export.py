"""From a recorded run to the network that it trained, for other programs.

A run keeps its image, the trained tensors, and the states of tensors and layers, all as the board sent them. Their
checksum must be the one that the board reported after its last epoch: nothing is exported that it did not train.
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqtbench.bench.execute import LAYER_STATES_NAME, TENSOR_STATES_NAME
from fqtbench.errors import ResultError
from fqtbench.exchange.from_image import quantized_network
from fqtbench.exchange.quantized import QuantizedNetwork
from fqtbench.experiment.record import EPOCHS, RESULT, WEIGHTS
from fqtbench.experiment.results import load_results, read_table
from fqtbench.experiment.store import JOURNAL
from fqtbench.training import image as im


@dataclass(frozen=True)
class Recorded:
    """What a run's folder and its results folder keep: image, trained tensors by number, states, final checksum."""

    folder: Path
    description: dict[str, Any]
    image: bytes
    tensors: dict[int, bytes]
    tensor_states: bytes
    layer_states: bytes
    checksum: int


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
            states = [file[name].tobytes() for name in (TENSOR_STATES_NAME, LAYER_STATES_NAME)]
            own = (TENSOR_STATES_NAME, LAYER_STATES_NAME)
            arrays = [file[name] for name in file.files if name not in own]
        checksum = int(read_table(folder / EPOCHS).checksum.iloc[-1])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ResultError(f"{folder}: a recorded file is missing or unreadable: {error}") from error
    if hashlib.sha256(image).hexdigest() != sha256:
        raise ResultError(f"{results}/artifacts/{sha256}: not the image of that hash; restore it from a copy")
    return Recorded(
        folder, description, image, _by_number(folder, image, arrays), states[0], states[1], checksum
    )


def _by_number(folder: Path, image: bytes, arrays: list[NDArray[Any]]) -> dict[int, bytes]:
    """Return the bytes of the trained tensors by number: the file has them in the image's order."""
    tensors = im.Image.parse(image).tensors
    numbers = [int(number) for number in np.flatnonzero(tensors["flags"] & im.TRAINED_STATE)]
    if len(numbers) != len(arrays):
        raise ResultError(
            f"{folder / WEIGHTS}: {len(arrays)} tensors, the run's image has {len(numbers)} trained ones"
        )
    return {number: array.tobytes() for number, array in zip(numbers, arrays, strict=True)}


def exported_network(run: Recorded) -> QuantizedNetwork:
    """Return the network of a run; ResultError if what was recorded is not what the board ended with."""
    crc = zlib.crc32(run.layer_states, zlib.crc32(run.tensor_states))
    for number in sorted(run.tensors):
        crc = zlib.crc32(run.tensors[number], crc)
    if crc != run.checksum:
        raise ResultError(
            f"{run.folder}: the checksum of its recorded tensors is {crc:08x}, the board's was {run.checksum:08x}; "
            "restore the folder from a copy, or repeat the run"
        )
    return quantized_network(run.image, run.tensors, np.frombuffer(run.tensor_states, im.TENSOR_STATE))
