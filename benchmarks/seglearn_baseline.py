"""What float32 training on a host reaches from one arm to the other: ``python -m benchmarks.seglearn_baseline``.

The network is that of experiments/seglearn-transfer.yaml, its inputs the very bytes that a device gets. It learns the
left arms of the training subjects and is tested with both arms of the held-out ones; then all its layers learn the
right arms of the training subjects, and it is tested again. Needs the extras `pretrain` and `seglearn`.
"""

import argparse
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from fqtbench.datasets import Dataset
from fqtbench.datasets.watch import load_watch
from fqtbench.paths import share

_MOMENTUM: Final = 0.9
_WEIGHT_DECAY: Final = 1e-3

Layer = Mapping[str, Any]
Shape = tuple[int, int]  # (channels, length)


class Schedule(NamedTuple):
    """A training: SGD with Nesterov momentum, the learning rate falling from `start` to 0 along a cosine."""

    steps: int
    start: float
    batch: int = 16


class Arm(NamedTuple):
    """One arm's windows as float32, (n, channels, length), and their labels, (n,)."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Accuracy(NamedTuple):
    """Shares of the test windows that are named correctly; `scratch` is of a network that saw right arms only."""

    left: float
    right_before: float
    right_after: float
    left_after: float
    scratch: float


# Chosen on splits 1 to 3; twice the steps, or half and twice the rates, changed the mean by less than the seeds do.
_PRETRAINING: Final = Schedule(steps=1650, start=0.02)  # 15 epochs of the left arm
_FINE_TUNING: Final = Schedule(steps=1000, start=0.02)  # 10 epochs of the right arm


def _arm(data: Dataset) -> Arm:
    def values(samples: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        steps = torch.from_numpy(samples[:, 0]).permute(0, 2, 1).to(torch.float32) - data.zero_point
        return steps * data.scale

    train_y, test_y = (torch.from_numpy(y.astype(np.int64)) for y in (data.train_y, data.test_y))
    return Arm(values(data.train_x), train_y, values(data.test_x), test_y)


def build(layers: Iterable[Layer], shape: Shape) -> tuple[nn.Sequential, int]:
    """Return the suite's `layers` for inputs of `shape`, and their multiply-accumulates per window.

    Of the layers it knows those that a 1-D classifier needs; ValueError for another one.
    """
    modules: list[nn.Module] = []
    n_macs = 0
    for layer in layers:
        added, shape, macs = _build_layer(layer, shape)
        modules += added
        n_macs += macs
    return nn.Sequential(*modules), n_macs


def _build_layer(layer: Layer, shape: Shape) -> tuple[list[nn.Module], Shape, int]:
    channels, length = shape
    activation = [] if layer.get("activation", "relu") == "linear" else [nn.ReLU()]
    match layer["type"]:
        case "conv1d":
            kernel, stride, filters = layer["kernel"], layer.get("stride", 1), layer["filters"]
            n = math.ceil(length / stride)
            padding = max((n - 1) * stride + kernel - length, 0)  # "same": the odd one goes to the right
            pad = nn.ConstantPad1d((padding // 2, padding - padding // 2), 0.0)
            convolution = nn.Conv1d(channels, filters, kernel, stride)
            return [pad, convolution, *activation], (filters, n), n * filters * kernel * channels
        case "max_pool":
            size = layer["size"][1]
            return [nn.MaxPool1d(size)], (channels, length // size), 0
        case "global_average_pool":
            return [nn.AdaptiveAvgPool1d(1), nn.Flatten()], (channels, 1), 0
        case "fully_connected":
            units = layer["units"]
            return [nn.Linear(channels * length, units), *activation], (units, 1), units * channels * length
        case other:
            raise ValueError(f"layer type {other}: this script builds none")


def train(network: nn.Module, x: Tensor, y: Tensor, schedule: Schedule) -> None:
    """Train all layers of `network` with cross-entropy; the order of samples is drawn from torch's generator."""
    optimizer = torch.optim.SGD(
        network.parameters(), schedule.start, _MOMENTUM, weight_decay=_WEIGHT_DECAY, nesterov=True
    )
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps)
    n = schedule.steps * schedule.batch
    order = torch.cat([torch.randperm(len(x)) for _ in range(math.ceil(n / len(x)))])
    for chosen in order[:n].view(schedule.steps, schedule.batch):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of windows that `network` names correctly."""
    return float((network(x).argmax(1) == y).to(torch.float64).mean())


def transfer(layers: list[Layer], left: Arm, right: Arm, seed: int) -> Accuracy:
    """Train on left, then fine-tune on right; for comparison, train another on right alone, for as many steps."""
    torch.manual_seed(seed)
    network, scratch = (build(layers, (left.train_x.shape[1], left.train_x.shape[2]))[0] for _ in range(2))
    train(network, left.train_x, left.train_y, _PRETRAINING)
    on_left, before = (accuracy(network, arm.test_x, arm.test_y) for arm in (left, right))
    train(network, right.train_x, right.train_y, _FINE_TUNING)
    left_after, after = (accuracy(network, arm.test_x, arm.test_y) for arm in (left, right))
    train(scratch, right.train_x, right.train_y, _FINE_TUNING)
    return Accuracy(on_left, before, after, left_after, accuracy(scratch, right.test_x, right.test_y))


def main() -> None:
    """Print the figures of each seed, their mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of weights and sample order")
    parser.add_argument(
        "--splits", type=int, nargs="+", default=[0], help="draw the test subjects; a suite has 0"
    )
    parser.add_argument(
        "--right", type=int, metavar="N", help="windows of the right arm to learn; default: all"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    suite = yaml.safe_load((share("experiments") / "seglearn-transfer.yaml").read_text())
    layers = suite["network"]["layers"]
    rows: list[Accuracy] = []
    for split, seed in itertools.product(args.splits, args.seeds):
        left = _arm(load_watch("left", seed=split))
        right = _arm(load_watch("right", seed=split).subset(args.right, None))
        if not rows:
            network, n_macs = build(layers, (left.train_x.shape[1], left.train_x.shape[2]))
            n_parameters = sum(parameter.numel() for parameter in network.parameters())
            print(
                f"PyTorch {torch.__version__}, float32: {n_macs} MACs per window, {n_parameters} parameters"
            )
            print(f"{'test accuracy / %':<22}" + "".join(f"{name:>14}" for name in Accuracy._fields))
        rows.append(transfer(layers, left, right, seed))
        _show(f"split {split}, seed {seed}", np.array(rows[-1]))
    _show("mean", np.mean(rows, axis=0))
    if len(rows) > 1:
        _show("standard deviation", np.std(rows, axis=0, ddof=1))


def _show(what: str, shares: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    print(f"{what:<22}" + "".join(f"{100 * value:14.1f}" for value in shares), flush=True)


if __name__ == "__main__":
    main()
