"""Boards for the tests of a lab: what the fixtures of `fqtbench.pytest_plugin` are made of."""

from fqtbench.testing.board import Board
from fqtbench.testing.desk import Desk
from fqtbench.testing.trained import Cycles, Trained

__all__ = ["Board", "Cycles", "Desk", "Trained"]
