"""Ranges before the first step: found by the reference itself on a few samples, so the same on every host."""

import itertools
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training.image import TensorType
from fqtbench.training.reference import Trainer

_ERROR_PASSES: Final = 2
_EXPONENT_TRIES: Final = 12
_EXPONENT_JUMP: Final = 5

Samples = NDArray[np.uint8]  # (n, h, w, c)
Labels = NDArray[np.uint16]  # (n,)


def calibrate(trainer: Trainer, samples: Samples, labels: Labels) -> None:
    """Set activation ranges, error ratios and gradient exponents of `trainer` from `samples`."""
    pairs = [(sample.tobytes(), int(label)) for sample, label in zip(samples, labels, strict=True)]
    _calibrate_activations(trainer, pairs)
    _calibrate_errors(trainer, pairs)
    _calibrate_gradients(trainer, pairs)


def _calibrate_activations(trainer: Trainer, pairs: Iterable[tuple[bytes, int]]) -> None:
    """Layer by layer from the input, set the range to the extremes of the accumulators."""
    for number in trainer.geometry:
        out = int(trainer.image.layers[number]["out"])
        if trainer.image.tensors[out]["dtype"] == TensorType.I32:
            continue
        trainer.forget_ranges()
        for sample, label in pairs:
            trainer.forward(sample, label, track=True)
        trainer.adopt_range(number)
        trainer.settle()
    trainer.settle()  # of a network that is nothing but a head, too
    trainer.forget_ranges()


def _calibrate_errors(trainer: Trainer, pairs: list[tuple[bytes, int]]) -> None:
    """Let the ratios follow from below: they rise by half the distance per sample."""
    trainer.layer_state["error_ratio"] = 0
    for _ in range(_ERROR_PASSES):
        for sample, label in pairs:
            trainer.forward(sample, label, track=True)
            trainer.backward()
    trainer.forget_ranges()


def _calibrate_gradients(trainer: Trainer, pairs: list[tuple[bytes, int]]) -> None:
    """Find exponents with which the largest gradient of a mini-batch lies in 512..1023."""
    batch = list(itertools.islice(itertools.cycle(pairs), int(trainer.image.header["batch"])))
    for _ in range(_EXPONENT_TRIES):
        trainer.drop_gradients()
        for sample, label in batch:
            trainer.forward(sample, label, track=False)
            trainer.backward()
        moves = [_move_exponent(trainer, number) for number in trainer.geometry]
        if not any(moves):
            break
    trainer.drop_gradients()


def _move_exponent(trainer: Trainer, number: int) -> bool:
    largest = int(np.abs(trainer.gradient[number]).max())
    if 512 <= largest < 1024:
        return False
    if largest == ar.GRADIENT_LIMIT:
        move = _EXPONENT_JUMP
    elif largest == 0:
        move = -_EXPONENT_JUMP
    else:
        move = largest.bit_length() - 10
    state = trainer.layer_state[number]
    state["gradient_exponent"] = min(max(int(state["gradient_exponent"]) + move, -100), 100)
    return True
