"""A board as a test sees it: train on it, profile it, ask what came of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fqtbench.bench.pool import Task
from fqtbench.errors import UsageError
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.record import Recorder
from fqtbench.experiment.spec import Suite, Variant, check_suite, find_suite, read_document
from fqtbench.experiment.yaml_lines import Document
from fqtbench.profile.model import Profile
from fqtbench.profile.take import Request, take_profile
from fqtbench.testing.held import HeldBoard
from fqtbench.testing.trained import Trained, trained_of

_DEFAULTS: Final = {"name": "test", "deadline_s": 600.0}


class Board:
    """A board under a test's control; the fixture `board`. Files are looked for beside the test's own."""

    def __init__(self, held: HeldBoard, test: Path) -> None:
        self._held, self._test = held, test

    @property
    def name(self) -> str:
        """Its name in the bench file."""
        return self._held.instance.name

    @property
    def model(self) -> str:
        """The name of its model."""
        return self._held.model.name

    def reset(self) -> None:
        """Reset it; the fixture has done so before the test."""
        self._held.reset()

    def train(
        self, suite: str | Path | None = None, *, run: int = 1, steps: int | None = None, **keys: Any
    ) -> Trained:
        """Train a network on the board from flashing to evaluation, and return what came of it.

        `suite`: a suite's file, or the name of a shipped one; of a sweep, run number `run`. `keys` are top-level keys
        of a suite (`network`, `dataset`, `training`, `seed`, `verify`, `deadline_s`) and take the place of its own;
        without a suite they say everything. `dataset` may be a name alone. `steps`: so many training samples, in one
        epoch; a whole number of mini-batches.

        Raises UsageError and ImageError for what no board could do, BoardError for what this one didn't.
        """
        __tracebackhide__ = True
        chosen = self._suite(suite, run, steps, keys)
        planned = self._plan(chosen)
        return self._train(planned, chosen.spec.deadline_s)

    def profile(
        self, suite: str | Path | None = None, *, run: int = 1, steps: int | None = None, **keys: Any
    ) -> Profile:
        """Count where the cycles of the first `steps` training steps go, by default of a mini-batch.

        The other arguments are those of `train`. UsageError on a board without a profiler: `fqt_needs("profiler")`.
        """
        __tracebackhide__ = True
        chosen = self._suite(suite, run, None, keys)
        request = Request(chosen, self._held.instance, self._held.model, steps=steps)
        profile, _ = take_profile(request, self._held.do)
        return profile

    def _train(self, run: Run, deadline_s: float) -> Trained:
        recorder, checksum = Recorder(run, self.name), 0

        def listen(task: Task, board: str, event: dict[str, Any]) -> None:
            nonlocal recorder, checksum
            if event["event"] == "retry":
                recorder = Recorder(run, self.name)
            else:
                recorder.add(event)
            checksum = event.get("checksum", checksum)

        image = self._held.folder / f"{run.compiled.sha256}.bin"
        image.write_bytes(run.compiled.image)
        self._held.do(run.name, run.job(image), deadline_s, listen)
        return trained_of(self.name, recorder.files({}), checksum)

    def _plan(self, suite: Suite) -> Run:
        (run,) = plan_runs(suite, [self._held.model])
        return run

    def _suite(self, suite: str | Path | None, run: int, steps: int | None, keys: dict[str, Any]) -> Suite:
        """Return the suite that the arguments describe, with one run."""
        document = Document(self._test, {}, {}) if suite is None else read_document(self._find(suite))
        checked = check_suite(replace(document, data=_data(document.data | keys, steps)))
        if not 1 <= run <= len(checked.variants):
            raise UsageError(f"run={run}: suite {checked.spec.name} has runs 1 to {len(checked.variants)}")
        variant = checked.variants[run - 1]
        if steps is not None:
            _check_steps(steps, variant)
        return replace(checked, variants=(variant,))

    def _find(self, suite: str | Path) -> Path:
        beside = self._test.parent / suite
        return beside if beside.is_file() else find_suite(str(suite))


def _data(given: dict[str, Any], steps: int | None) -> dict[str, Any]:
    """Return a suite's keys with defaults and abbreviations written out."""
    data: dict[str, Any] = _DEFAULTS | given
    if isinstance(data.get("dataset"), str):
        data["dataset"] = {"name": data["dataset"]}
    if steps is not None:
        data["dataset"] = {**data.get("dataset", {}), "train": steps}
        data["training"] = {**data.get("training", {}), "epochs": 1}
    return data


def _check_steps(steps: int, variant: Variant) -> None:
    training, train = variant.spec.training, variant.spec.dataset.train
    if (train, training.epochs) != (steps, 1):
        raise UsageError(
            f"steps={steps}: the suite sweeps `dataset.train` or `training.epochs`; leave it out"
        )
    if steps % training.batch:
        raise UsageError(
            f"steps={steps}: not a multiple of the mini-batch, which has {training.batch} samples"
        )
