"""One run on one board: train, evaluate, compare with the reference, read out. Talks only to a `TrainingDevice`."""

import base64
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fqtbench.bench.access import Emit, Event, TrainingDevice
from fqtbench.bench.job import TrainJob, epoch_order
from fqtbench.bench.meter import Meter
from fqtbench.bench.mlperf_tiny import measure
from fqtbench.board import BoardModel
from fqtbench.datasets import Dataset
from fqtbench.errors import DeviceError, WrongDeviceError
from fqtbench.power import PHASES, Monitor
from fqtbench.training.image import LAYER_STATE, LAYER_STATES, TENSOR_STATE, TENSOR_STATES, Image, TensorType
from fqtbench.training.reference import Trainer
from fqtbench.wire import Evaluated, Step

Columns = dict[str, list[Any]]
Answer = TypeVar("Answer", Step, Evaluated)

# Of the records in one event: few enough for a live progress bar, enough to cost nothing.
_BATCH_RECORDS: Final = 256
_BATCH_PERIOD_S: Final = 1.0
TENSOR_STATES_NAME: Final = "tensor states"
LAYER_STATES_NAME: Final = "layer states"
_DTYPES: Final = {
    TensorType.U8: "<u1",
    TensorType.I16: "<i2",
    TensorType.I32: "<i4",
    TensorType.F32: "<f4",
    TensorType.I8: "i1",
}


def gather(
    answers: Iterable[Answer], columns: Callable[[int, list[Answer]], Columns], emit: Emit, event: Event
) -> list[Answer]:
    """Return all answers, having sent them in events of columns; `columns` makes these of the answers from one on."""
    every: list[Answer] = []
    sent, since_s = 0, time.monotonic()

    def flush() -> None:
        emit({**event, "columns": columns(sent, every[sent:])})

    for answer in answers:
        every.append(answer)
        if len(every) - sent >= _BATCH_RECORDS or time.monotonic() - since_s > _BATCH_PERIOD_S:
            flush()
            sent, since_s = len(every), time.monotonic()
    if len(every) > sent:
        flush()
    return every


class Execution:
    """The course of one training on `device`, reported through `emit`."""

    def __init__(
        self,
        job: TrainJob,
        dataset: Dataset,
        model: BoardModel,
        device: TrainingDevice,
        monitor: Monitor | None,
        emit: Emit,
    ) -> None:
        self._job, self._data, self._device, self._emit = job, dataset, device, emit
        self._meter = Meter(monitor, model.clock_hz, emit)
        self._image = job.image.read_bytes()

    def run(self) -> None:
        """Do all of it. Every figure leaves through `emit`."""
        for epoch in range(self._job.epochs):
            summary = self._train(epoch) | self._evaluate(epoch)
            self._emit(
                {"event": "epoch", "epoch": epoch, **summary, "checksum": self._device.checksum().crc32}
            )
        if self._job.energy is not None:
            self._emit(measure(self._job.energy, self._data, self._device, self._meter, self._emit))
        self._meter.end()
        self._emit({"event": "weights", "npz": base64.b64encode(self._weights()).decode()})

    # -- training

    def _train(self, epoch: int) -> Event:
        order = epoch_order(len(self._data.train_x), self._job.batch, self._job.seed, epoch)
        n_verified = min(self._job.verify, len(order)) if epoch == 0 else 0
        steps: list[Step] = []
        if n_verified:
            steps += self._steps(order[:n_verified], 0, epoch)
            self._verify(order[:n_verified])
        steps += self._steps(order[n_verified:], n_verified, epoch)
        labels = self._data.train_y[order]
        return {
            "train_loss": _mean([s.loss for s in steps]),
            "train_accuracy": _mean([s.predicted == label for s, label in zip(steps, labels, strict=True)]),
        } | self._meter.training(epoch, steps)

    def _steps(self, order: NDArray[np.int64], first: int, epoch: int) -> list[Step]:
        def columns(begin: int, steps: list[Step]) -> Columns:
            samples = order[begin : begin + len(steps)]
            number, predicted, updated, loss, *cycles, structures = zip(*steps, strict=True)
            updates = zip(*structures, strict=True)
            return {
                "position": list(range(first + begin, first + begin + len(steps))),
                "step": list(number),
                "sample": samples.tolist(),
                "label": self._data.train_y[samples].tolist(),
                "predicted": list(predicted),
                "updated": list(updated),
                "loss": list(loss),
                **_counted(PHASES, cycles),
                # a device reports a bounded number of layers
                **{
                    f"updated.{name}": list(n)
                    for name, n in zip(self._job.trained_layers, updates, strict=False)
                },
            }

        self._meter.record(on=True)
        answers = self._device.train(self._training_samples(order))
        steps = gather(answers, columns, self._emit, {"event": "steps", "epoch": epoch})
        self._meter.record(on=False)
        if len(steps) != len(order):
            raise DeviceError(
                f"the board answered {len(steps)} of {len(order)} training samples; reset it and resume"
            )
        return steps

    def _training_samples(self, order: NDArray[np.int64]) -> Iterator[tuple[bytes, int]]:
        for sample in order:
            yield self._data.train_x[sample].tobytes(), int(self._data.train_y[sample])

    def _verify(self, order: NDArray[np.int64]) -> None:
        self._emit({"event": "stage", "text": f"checking {len(order)} steps against the reference"})
        reference = Trainer(self._image)
        for sample, label in self._training_samples(order):
            reference.train(sample, label)
        expected, found = reference.checksum(), self._device.checksum().crc32
        if expected != found:
            raise WrongDeviceError(
                f"after {len(order)} steps the device's trained state (checksum {found:08x}) is not the reference's "
                f"({expected:08x}): this firmware does not compute what it should; rebuild and flash it, or look for "
                "the first differing step with a smaller `verify`"
            )
        self._emit({"event": "verified", "steps": len(order)})

    # -- evaluation

    def _evaluate(self, epoch: int) -> Event:
        labels = self._data.test_y.tolist()
        samples = ((x.tobytes(), label) for x, label in zip(self._data.test_x, labels, strict=True))

        def columns(begin: int, answers: list[Evaluated]) -> Columns:
            predicted, loss, *cycles = zip(*answers, strict=True)
            end = begin + len(answers)
            return {
                "sample": list(range(begin, end)),
                "label": labels[begin:end],
                "predicted": list(predicted),
                "loss": list(loss),
                **_counted(PHASES[:1], cycles),
            }

        self._meter.record(on=True)
        answers = gather(
            self._device.evaluate(samples), columns, self._emit, {"event": "evaluations", "epoch": epoch}
        )
        self._meter.record(on=False)
        if len(answers) != len(labels):
            raise DeviceError(
                f"the board answered {len(answers)} of {len(labels)} test samples; reset it and resume"
            )
        return {
            "test_loss": _mean([a.loss for a in answers]),
            "test_accuracy": _mean([a.predicted == label for a, label in zip(answers, labels, strict=True)]),
        } | self._meter.evaluation(epoch, answers)

    # -- figures

    def _weights(self) -> bytes:
        """Return the trained tensors as the bytes of an NPZ file, each with its type and its rows; and the states."""
        image = Image.parse(self._image)
        tensors = image.tensors
        arrays: dict[str, NDArray[Any]] = {}
        for name, number, n_bytes in (
            (TENSOR_STATES_NAME, TENSOR_STATES, len(tensors) * TENSOR_STATE.itemsize),
            (LAYER_STATES_NAME, LAYER_STATES, len(image.layers) * LAYER_STATE.itemsize),
        ):
            arrays[name] = np.frombuffer(self._device.read_tensor(number, n_bytes), np.uint8)
        for ref in self._job.tensors:
            data = self._device.read_tensor(ref.index, ref.n_bytes)
            entry = tensors[ref.index]
            values = np.frombuffer(data, _DTYPES[TensorType(int(entry["dtype"]))])
            rows = int(entry["h"])
            arrays[ref.name] = values.reshape(rows, -1) if rows and values.size % rows == 0 else values
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()


def _counted(phases: Sequence[str], cycles: Sequence[Sequence[int | None]]) -> Columns:
    """Return the cycle counts of each phase; nothing of a board without a cycle counter."""
    counts = zip(phases, cycles, strict=True)
    return {f"{phase}_cycles": list(count) for phase, count in counts if None not in count}


def _mean(values: list[Any]) -> float:
    return float(np.mean(np.asarray(values, np.float64))) if values else float("nan")
