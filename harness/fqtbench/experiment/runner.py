"""Running a suite: plan, open the results folder, let the pool work, commit each run as it ends."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fqtbench.bench.job import Charge
from fqtbench.bench.lock import PATIENCE_S
from fqtbench.bench.pool import WORKER, Pool, Task
from fqtbench.board import BoardInstance, BoardModel
from fqtbench.clock import now
from fqtbench.errors import FqtbenchError, ResultError
from fqtbench.experiment import provenance
from fqtbench.experiment.attempts import attempt_of
from fqtbench.experiment.executor import Executor, ExecutorOf
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.record import Recorder
from fqtbench.experiment.results import load_results, summary_table
from fqtbench.experiment.spec import Suite, canonical_json
from fqtbench.experiment.store import Store


class Observer(Protocol):
    """Somebody who wants to see how a suite gets on; called in the thread that called `run_suite`."""

    def planned(self, run: Run, n_runs: int) -> None:
        """A run was planned, its image compiled; `n_runs` will be planned in all."""
        ...

    def began(self, n_runs: int, n_recorded: int) -> None:
        """The plan is ready; `n_recorded` of its runs are in the folder already."""
        ...

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        """Something happened in a run."""
        ...

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        """A run was committed; `result` is its result.json."""
        ...


@dataclass(frozen=True)
class Order:
    """What the caller wants: a suite, on which boards, into which folder.

    `patience_s`: how long a board that somebody else uses is waited for. `may_erase`: whether chips may be erased where
    nothing else brings a board back; a board's description may allow it, too. `executor_of`: who does the runs; by
    default this computer, with a worker process per board.
    """

    suite: Suite
    boards: Sequence[BoardInstance]
    models: dict[str, BoardModel]
    folder: Path
    resume: bool = False
    dataset_root: Path | None = None
    patience_s: float = PATIENCE_S
    may_erase: bool = False
    executor_of: ExecutorOf | None = None


def run_suite(order: Order, observer: Observer, worker: Sequence[str] = WORKER) -> int:
    """Run what of the suite isn't recorded yet; returns the number of runs recorded now.

    A board that fails stops no other one; its error is raised when these are done. Whatever ends it, a run that was
    recorded stays so.
    """
    used = {board.model: order.models[board.model] for board in order.boards}
    n_runs = len(order.suite.variants) * len(used)
    store = Store(order.folder, order.suite.spec.name, order.suite.sha256, resume=order.resume)
    store.check()
    runs = plan_runs(
        order.suite, used.values(), order.dataset_root, lambda run: observer.planned(run, n_runs)
    )
    with store:
        strangers = store.committed.keys() - {run.run_id for run in runs}
        if strangers:
            raise ResultError(
                f"{order.folder}: {len(strangers)} of its runs were recorded with another firmware, dataset, board or "
                "fqtbench than this one's; results of both don't belong in one folder: choose another --out"
            )
        return _Session(order, store, observer, worker).work(runs)


class _Session:
    """One invocation on one results folder."""

    def __init__(self, order: Order, store: Store, observer: Observer, worker: Sequence[str]) -> None:
        self._order, self._store, self._observer, self._worker = order, store, observer, worker
        self._environment = provenance.environment()
        self._recorders: dict[str, Recorder] = {}
        self._runs: dict[str, Run] = {}
        self._n_recorded = 0

    def work(self, runs: Sequence[Run]) -> int:
        pending = [run for run in runs if run.run_id not in self._store.committed]
        self._observer.began(len(runs), len(runs) - len(pending))
        self._write_manifest(runs)
        charges = [
            Charge(
                instance=board,
                model=self._order.models[board.model],
                patience_s=self._order.patience_s,
                may_erase=self._order.may_erase,
            )
            for board in self._order.boards
        ]
        try:
            with self._executor(charges) as executor:
                executor.run([self._task(run) for run in pending], self._on_event)
        except FqtbenchError as error:
            raise type(error)(f"{error}{self._what_is_safe(len(runs))}") from error
        finally:
            self._write_summary()
        return self._n_recorded

    def _executor(self, charges: Sequence[Charge]) -> Executor:
        executor_of = self._order.executor_of
        return Pool(charges, self._worker) if executor_of is None else executor_of(charges)

    def _task(self, run: Run) -> Task:
        image = self._store.keep_artifact(run.compiled.image)
        # The original may be replaced while the suite runs, by `make firmware`.
        elf = self._store.keep_artifact(run.firmware.path.read_bytes())
        self._store.keep_artifact(canonical_json(run.identity))
        task = Task(run.name, run.model.name, run.job(image, elf), self._order.suite.spec.deadline_s)
        self._runs[run.name] = run
        return task

    def _on_event(self, task: Task, board: str, event: dict[str, Any]) -> None:
        run = self._runs[task.name]
        match event["event"]:
            case "failed" | "rung":
                self._recorders.pop(task.name, None)
                self._note(run, board, event)
            case "done":
                self._commit(self._recorders.pop(task.name))
                return
            case "retry" | "lost":
                pass
            case _:
                self._recorders.setdefault(task.name, Recorder(run, board)).add(event)
        self._observer.event(run, board, event)

    def _note(self, run: Run, board: str, event: dict[str, Any]) -> None:
        """Put a failure on record; attempts are counted over all invocations."""
        numbered = event
        if event["event"] == "failed":
            numbered = {**event, "attempt": self._store.failures(run.run_id) + 1}
        self._store.note(attempt_of(numbered, run.run_id, run.label, board))

    def _commit(self, recorder: Recorder) -> None:
        attempts = self._store.failures(recorder.run.run_id) + 1
        files = recorder.files(self._environment, attempts)
        result = json.loads(files["result.json"])
        facts = {
            "label": recorder.run.label,
            "board": recorder.board,
            "tries": attempts,
            "time": result["ended"],
        }
        self._store.record(recorder.run.run_id, files, facts)
        self._n_recorded += 1
        self._observer.recorded(recorder.run, recorder.board, result)

    # -- what can be made again

    def _write_manifest(self, runs: Sequence[Run]) -> None:
        suite = self._order.suite
        path = self._store.folder / "manifest.json"
        earlier: list[Any] = []
        with suppress(OSError, ValueError, KeyError):
            earlier = json.loads(path.read_text("utf-8"))["invocations"]
        source = suite.document.path.read_bytes()
        manifest = {
            "suite": {
                "name": suite.spec.name,
                "title": suite.spec.title,
                "path": str(suite.document.path),
                "sha256": suite.sha256,
                "source": self._store.keep_artifact(source).name,
                "git": provenance.git_state(suite.document.path.resolve().parent),
            },
            "runs": [
                {
                    "run_id": run.run_id,
                    "number": run.number,
                    "label": run.label,
                    "board_model": run.model.name,
                    "image": run.compiled.sha256,
                    "firmware": run.firmware.sha256,
                }
                for run in runs
            ],
            "invocations": [
                *earlier,
                {
                    "time": now(),
                    "resume": self._order.resume,
                    "boards": [b.name for b in self._order.boards],
                    "environment": self._environment,
                },
            ],
        }
        self._store.write("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())

    def _write_summary(self) -> None:
        if self._store.committed:
            table = summary_table(load_results(self._store.folder))
            self._store.write("summary.csv", table.to_csv(index=False).encode())

    def _what_is_safe(self, n_runs: int) -> str:
        n_safe = len(self._store.committed)
        if n_safe == 0:
            return ""
        if n_safe == n_runs:
            return f" (all {n_runs} runs are recorded in {self._store.folder})"
        return f" ({n_safe} of {n_runs} runs are recorded in {self._store.folder}; go on by --resume)"
