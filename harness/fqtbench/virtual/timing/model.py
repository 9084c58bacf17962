"""What a timing model says to the CPU that counts by it and to those who read its figures."""

from collections.abc import Callable
from dataclasses import dataclass

Pricer = Callable[[bytes, int], tuple[int, int]]


@dataclass(frozen=True)
class Timing:
    """A core's timing model.

    `price(code, address)` returns cycles and instructions of a basic block, its last branch not taken; a taken jump
    costs `taken_cycles` more. `model_id` names the model and changes with every constant of it. `uncertainty` is the
    fraction by which a real core may differ, for reasons that docs/timing.md gives.
    """

    model_id: str
    price: Pricer
    taken_cycles: int
    uncertainty: float
