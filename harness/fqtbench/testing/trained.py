"""What a test learns of a training: figures with their origin."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fqtbench.board import Origin
from fqtbench.errors import ResultError
from fqtbench.experiment.metrics import BY_NAME, MetricValue
from fqtbench.experiment.record import RESULT


@dataclass(frozen=True)
class Cycles:
    """Core cycles per training step, which is one sample: means over the last epoch.

    `update` is the cost of an update shared by the samples of its mini-batch.
    """

    forward: float
    backward: float
    update: float

    @property
    def step(self) -> float:
        """All of a step."""
        return self.forward + self.backward + self.update


@dataclass(frozen=True)
class Trained:
    """The outcome of one training on a board.

    `metrics` has all figures by name, in s, J, bytes, nats or as a share of 1, each with its origin. `weights_checksum`
    is the CRC-32 of the trained state behind the last epoch: the same on every board. `verified_steps` were equal to
    the reference's. `perturbed`: frames were sent again on the line.
    """

    board: str
    metrics: Mapping[str, MetricValue]
    weights_checksum: int
    verified_steps: int
    perturbed: bool
    clock_hz: int | None

    @property
    def accuracy(self) -> float:
        """Share of the test samples that the board predicts rightly, 0 to 1."""
        return self.value("test_accuracy")

    @property
    def ram_bytes(self) -> int:
        """Variables, stack high-water mark and arena peak; ResultError on a board that is no chip."""
        return int(self.value("ram_bytes"))

    @property
    def cycles(self) -> Cycles:
        """Core cycles per training step.

        ResultError on a board without a cycle counter, and after a disturbed line, whose times say nothing.
        """
        forward, backward, update = (self.value(f"{phase}_s") for phase in ("forward", "backward", "update"))
        if self.perturbed:
            raise ResultError(
                f"board {self.board}: frames were sent again on its line, so its cycles don't count; train again"
            )
        assert self.clock_hz is not None, "a board that has times has a clock"
        return Cycles(forward * self.clock_hz, backward * self.clock_hz, update * self.clock_hz)

    @property
    def origin(self) -> Origin:
        """Where its cycles come from: `measured` by a chip, or `modelled`."""
        self.value("step_s")
        return self.metrics["step_s"].origin

    def value(self, metric: str) -> float:
        """Return a figure of `metrics`; ResultError if the board doesn't have it."""
        if metric not in self.metrics:
            raise ResultError(
                f"board {self.board} has no {metric}; mark the test with fqt_needs, or use another board"
            )
        return self.metrics[metric].value


def trained_of(board: str, files: Mapping[str, bytes], checksum: int) -> Trained:
    """Return what the files of a recorded attempt say; `checksum` is that of the last epoch."""
    result: dict[str, Any] = json.loads(files[RESULT])
    return Trained(
        board=board,
        metrics={
            name: MetricValue(name, **fields) for name, fields in result["metrics"].items() if name in BY_NAME
        },
        weights_checksum=checksum,
        verified_steps=int(result["verified_steps"]),
        perturbed=bool(result["perturbed"]),
        clock_hz=result["identity"]["board"]["clock_hz"],
    )
