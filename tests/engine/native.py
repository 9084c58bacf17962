"""The C engine built for this machine, behind the reference's interface."""

import ctypes
from pathlib import Path
from typing import Final

import numpy as np

from fqtbench.host import build_library
from fqtbench.training.reference import Outcome
from tests.tools import require

_REGION_BYTES: Final = 1 << 20
_WARNINGS: Final = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")


def build(folder: Path, *extra_flags: str) -> Path:
    """Compile the engine to a shared library in `folder`."""
    require("cc", "gcc")
    return build_library((*_WARNINGS, *extra_flags), folder).path


class _Region(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_uint32))


class _Outcome(ctypes.Structure):
    _fields_ = (("loss", ctypes.c_float), ("predicted", ctypes.c_uint16))


class Engine:
    """One network in training, in the C engine."""

    def __init__(self, library: ctypes.CDLL, image: bytes, *arenas_bytes: int) -> None:
        self._library = library
        library.fqt_forward.restype = _Outcome
        library.fqt_checksum.restype = ctypes.c_uint32
        library.fqt_update_due.restype = ctypes.c_bool
        library.fqt_structures_updated.restype = ctypes.c_uint16
        library.fqt_tensor_bytes.restype = ctypes.c_void_p
        self._image = _aligned(image)
        sizes = arenas_bytes or (_REGION_BYTES,)
        self._arenas = [_aligned(bytes([0xA5]) * size) for size in sizes]
        self._net = _aligned(bytes(library.library_net_bytes()))
        self._sample = _aligned(b"")
        described = [_Region(a.ctypes.data, size) for a, size in zip(self._arenas, sizes, strict=True)]
        regions = (_Region * len(sizes))(*described)
        detail = ctypes.c_uint32()
        self.status = library.fqt_load(
            self._pointer(self._net),
            self._pointer(self._image),
            ctypes.c_uint32(len(image)),
            regions,
            ctypes.c_uint32(len(sizes)),
            ctypes.byref(detail),
        )
        self.detail = detail.value

    @staticmethod
    def _pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def _forward(self, sample: bytes, label: int, training: bool) -> _Outcome:
        self._sample = _aligned(sample)
        return self._library.fqt_forward(
            self._pointer(self._net),
            self._pointer(self._sample),
            ctypes.c_uint32(label),
            ctypes.c_bool(training),
        )

    def train(self, sample: bytes, label: int) -> Outcome:
        """One training sample, and the update when the mini-batch is full."""
        outcome = self._forward(sample, label, True)
        net = self._pointer(self._net)
        self._library.fqt_backward(net)
        due = bool(self._library.fqt_update_due(net))
        if due:
            self._library.fqt_update(net)
        return Outcome(np.float32(outcome.loss), outcome.predicted, due)

    def evaluate(self, sample: bytes, label: int) -> Outcome:
        """One forward pass."""
        outcome = self._forward(sample, label, False)
        return Outcome(np.float32(outcome.loss), outcome.predicted, False)

    def structures_updated(self) -> tuple[int, ...]:
        """Filters or rows that the last sample updated, for each trained layer."""
        net = self._pointer(self._net)
        n = int(self._library.fqt_n_trained(net))
        return tuple(int(self._library.fqt_structures_updated(net, ctypes.c_uint32(i))) for i in range(n))

    def checksum(self) -> int:
        """CRC-32 of the trained state."""
        return int(self._library.fqt_checksum(self._pointer(self._net)))


def _aligned(data: bytes) -> np.ndarray:
    """Copy `data` into memory aligned to 8 bytes."""
    words = np.zeros(len(data) // 8 + 1, np.uint64)
    array = words.view(np.uint8)[: len(data)]
    array[:] = np.frombuffer(data, np.uint8)
    return array
