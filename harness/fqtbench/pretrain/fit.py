"""Learning in PyTorch: with batch normalization, then folded and with everything rounded to uint8."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from fqtbench.datasets import Dataset
from fqtbench.pretrain.module import TorchNetwork
from fqtbench.training.network import resolve
from fqtbench.training.spec import NetworkSpec

_LOG: Final = logging.getLogger(__name__)
_MOMENTUM: Final = 0.9
_LARGEST_NORM: Final = 5.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: cosine learning rates from `rate` to 0, in both parts; `shift` in pixels or points."""

    epochs: int
    rounded_epochs: int
    rate: float = 0.1
    rounded_rate: float = 0.01
    batch: int = 64
    weight_decay: float = 1e-4
    shift: int = 0


def fit(network: NetworkSpec, data: Dataset, schedule: Schedule, seed: int) -> tuple[dict[int, Any], float]:
    """Return the weights, as `compile_model` takes them, and the test accuracy (0 to 1) of the rounded network.

    The same seed and PyTorch give the same weights on the same kind of processor.
    """
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums are split by threads
    generator = torch.Generator().manual_seed(seed)
    h, w, c = data.train_x.shape[1:]
    model = TorchNetwork(resolve(network, (h, w, c), len(data.classes), "float32"), generator)
    _learn(model, data, schedule, schedule.epochs, schedule.rate, generator)
    model.fold()
    model.quantized = True
    _learn(model, data, schedule, schedule.rounded_epochs, schedule.rounded_rate, generator)
    return model.weights(), _accuracy(model, data)


def _learn(
    model: TorchNetwork,
    data: Dataset,
    schedule: Schedule,
    epochs: int,
    rate: float,
    generator: torch.Generator,
) -> None:
    optimizer = torch.optim.SGD(
        model.trainable(), rate, _MOMENTUM, weight_decay=schedule.weight_decay, nesterov=True
    )
    steps = max(epochs * -(-len(data.train_x) // schedule.batch), 1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        total = 0.0
        for x, y in _batches(data, schedule, generator):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x, learning=True), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.trainable(), _LARGEST_NORM)
            optimizer.step()
            cosine.step()
            total += loss.item() * len(x)
        _LOG.info(
            "epoch %d of %d%s: loss %.4f, test accuracy %.4f", epoch + 1, epochs,
            ", rounded" if model.quantized else "", total / len(data.train_x), _accuracy(model, data),
        )  # fmt: skip


def _batches(
    data: Dataset, schedule: Schedule, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = torch.randperm(len(data.train_x), generator=generator).numpy()
    for first in range(0, len(order), schedule.batch):
        chosen = order[first : first + schedule.batch]
        if len(chosen) < 2:  # batch normalization needs two
            continue
        x = _tensor(data, data.train_x[chosen])
        if schedule.shift:
            moved = torch.randint(-schedule.shift, schedule.shift + 1, (2,), generator=generator).tolist()
            x = torch.roll(x, moved if x.shape[2] > 1 else (0, moved[1]), (2, 3))
        yield x, torch.from_numpy(data.train_y[chosen].astype(np.int64))


def _tensor(data: Dataset, x: Any) -> torch.Tensor:
    """Return samples (n, h, w, c) as real values (n, c, h, w).

    Channels stay last in memory: PyTorch's depthwise layers are 20 times faster so.
    """
    real = (x.astype(np.float32) - np.float32(data.zero_point)) * np.float32(data.scale)
    return torch.from_numpy(np.ascontiguousarray(real)).permute(0, 3, 1, 2)


def _accuracy(model: TorchNetwork, data: Dataset) -> float:
    hits = 0
    with torch.no_grad():
        for first in range(0, len(data.test_x), 500):
            logits = model(_tensor(data, data.test_x[first : first + 500]), learning=False)
            hits += int((logits.argmax(1).numpy() == data.test_y[first : first + 500]).sum())
    return hits / len(data.test_x)
