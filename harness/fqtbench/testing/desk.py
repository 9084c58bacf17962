"""The boards of one run of tests, each opened when it is first asked for."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from fqtbench.bench.lock import PATIENCE_S
from fqtbench.board import find_instance, load_instances, load_models
from fqtbench.errors import BoardError
from fqtbench.testing.board import Board
from fqtbench.testing.features import missing_features
from fqtbench.testing.held import HeldBoard


class Desk:
    """Boards by name, those of `bench` and those that come with the package; held until the context ends.

    A board that could not be reached the first time is not tried again: whoever waited for it once needn't for each
    test. `patience_s`: how long to wait for one that somebody else uses.
    """

    def __init__(self, bench: Path | None = None, patience_s: float | None = None) -> None:
        self._models = load_models()
        self._instances = load_instances(self._models, bench)
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._held: dict[str, HeldBoard] = {}
        self._out_of_reach: dict[str, BoardError] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._resources.close()

    def missing(self, name: str, needed: Iterable[str]) -> list[str]:
        """Return what board `name` lacks of these features; UsageError for an unknown board or feature."""
        instance = find_instance(name, self._instances)
        return missing_features(instance, self._models[instance.model], needed)

    def board(self, name: str, test: Path) -> Board:
        """Return board `name`, just reset, for a test in the file `test`; raises UsageError and BoardError."""
        if name in self._out_of_reach:
            raise self._out_of_reach[name]
        known = name in self._held
        held = self._hold(name)
        try:
            held.reset()
        except BoardError as error:
            if not known:
                self._out_of_reach[name] = error
            raise
        return Board(held, test)

    def _hold(self, name: str) -> HeldBoard:
        if name not in self._held:
            instance = find_instance(name, self._instances)
            held = HeldBoard(instance, self._models[instance.model], self._patience_s)
            self._held[name] = self._resources.enter_context(held)
        return self._held[name]
