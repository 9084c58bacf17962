"""The engine in this process, behind the interface of a board's `Device`."""

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import DeviceError
from fqtbench.training.image import Image
from fqtbench.wire.messages import ArenaUse, Checksum, Evaluated, Step, describe_image

_ALIGNMENT_BYTES: Final = 8


class _Region(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_uint32))


class _Result(ctypes.Structure):
    _fields_ = (
        ("loss", ctypes.c_float),
        ("predicted", ctypes.c_uint32),
        ("updated", ctypes.c_uint32),
        ("step", ctypes.c_uint32),
    )


class LibraryDevice:
    """One network in training. It has no cycle counter: cycles are None.

    Args:
        library: what `build_library` built.
        image: the model image.
        arena_bytes: memory for the network; the image's plan says how much of it is used.

    Raises (every method):
        DeviceError: the image, a sample or a label is none that this engine and network can take.
    """

    perturbed = False
    retransmissions = 0

    def __init__(self, library: Path, image: bytes, arena_bytes: int) -> None:
        self._library = _open(library)
        self._image, self._arena = _aligned(image), _aligned(bytes(arena_bytes))
        self._state = _aligned(bytes(self._library.library_net_bytes()))
        self._net = ctypes.c_void_p(self._state.ctypes.data)
        self._arena_bytes = arena_bytes
        self.image_status, self.image_detail = self._load()
        if self.image_status != 0:
            raise DeviceError(f"board host: {describe_image(self.image_status, self.image_detail)}")
        header = Image.parse(image).header
        self._n_classes = int(header["n_classes"])
        self._sample_bytes = int(header["sample_bytes"])
        self._arena_peak_bytes = int(header["region_bytes"][0])
        self._sample = _aligned(bytes(self._sample_bytes))
        self._result = _Result()

    def _load(self) -> tuple[int, int]:
        regions = (_Region * 1)(_Region(self._arena.ctypes.data, self._arena_bytes))
        detail = ctypes.c_uint32()
        image = ctypes.c_void_p(self._image.ctypes.data)
        status = self._library.fqt_load(self._net, image, len(self._image), regions, 1, ctypes.byref(detail))
        return int(status), detail.value

    def _run(self, function: Any, sample: bytes, label: int) -> _Result:
        if len(sample) != self._sample_bytes:
            raise DeviceError(
                f"board host: the network takes samples of {self._sample_bytes} bytes, this one has {len(sample)}"
            )
        if not 0 <= label < self._n_classes:
            raise DeviceError(
                f"board host: label {label} is not a class of the network, which has {self._n_classes}"
            )
        ctypes.memmove(self._sample.ctypes.data, sample, len(sample))
        function(self._net, ctypes.c_void_p(self._sample.ctypes.data), label, ctypes.byref(self._result))
        return self._result

    def train(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Step]:
        """Train on each sample in order and yield each step's record."""
        n_layers = int(self._library.fqt_n_trained(self._net))
        for sample, label in samples:
            result = self._run(self._library.library_train, sample, label)
            structures = tuple(self._library.fqt_structures_updated(self._net, i) for i in range(n_layers))
            yield Step(
                result.step, result.predicted, bool(result.updated), result.loss, None, None, None, structures
            )

    def evaluate(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Evaluated]:
        """Run each sample forward, without learning, and yield the predictions in order."""
        for sample, label in samples:
            result = self._run(self._library.library_evaluate, sample, label)
            yield Evaluated(result.predicted, result.loss, None)

    def checksum(self) -> Checksum:
        """Return the CRC-32 of the trained state."""
        return Checksum(int(self._library.fqt_checksum(self._net)), self._result.step)

    def read_tensor(self, tensor: int, n_bytes: int) -> bytes:
        """Return the first `n_bytes` of a tensor that lives in the arena."""
        address = self._library.fqt_tensor_bytes(self._net, tensor, 0, n_bytes)
        if address is None:
            raise DeviceError(
                f"board host: tensor {tensor} is unknown or has no {n_bytes} bytes in the arena"
            )
        return ctypes.string_at(address, n_bytes)

    def status(self) -> ArenaUse:
        """Return the arena's use; the stack is the process's, and there is no line."""
        return ArenaUse(arena_bytes=self._arena_bytes, arena_peak_bytes=self._arena_peak_bytes)


def _open(path: Path) -> ctypes.CDLL:
    """Load the library and say what its functions take and return."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise DeviceError(
            f"board host: the training engine can't be loaded: {error}; delete {path}, it will be built again"
        ) from error
    pointer, word = ctypes.c_void_p, ctypes.c_uint32
    library.fqt_load.argtypes = (pointer, pointer, word, pointer, word, pointer)
    for function in (library.library_train, library.library_evaluate):
        function.argtypes = (pointer, pointer, word, pointer)
        function.restype = None
    library.library_net_bytes.restype = word
    for function in (library.fqt_n_trained, library.fqt_checksum):
        function.argtypes, function.restype = (pointer,), word
    library.fqt_structures_updated.argtypes = (pointer, word)
    library.fqt_structures_updated.restype = ctypes.c_uint16
    library.fqt_tensor_bytes.argtypes = (pointer, word, word, word)
    library.fqt_tensor_bytes.restype = pointer
    return library


def _aligned(data: bytes) -> NDArray[np.uint8]:
    """Copy `data` into memory aligned to 8 bytes."""
    words = np.zeros(len(data) // _ALIGNMENT_BYTES + 1, np.uint64)
    array = words.view(np.uint8)[: len(data)]
    array[:] = np.frombuffer(data, np.uint8)
    return array
