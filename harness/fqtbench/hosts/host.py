"""A lab host's side: the boards of its bench file, and one job at a time on each, by the ordinary pool of workers."""

import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from distributed import Worker, WorkerPlugin, get_worker

from fqtbench.bench.firmware import load_firmware
from fqtbench.bench.job import Charge
from fqtbench.bench.pool import WORKER, Pool, Stopped, Task
from fqtbench.board import BoardInstance, probe_key
from fqtbench.durable import write_durably
from fqtbench.errors import BoardError, FqtbenchError, ImageError, UsageError
from fqtbench.experiment.provenance import environment
from fqtbench.hosts.kit import own_kit
from fqtbench.hosts.messages import Card, Failure, OfferedBoard, Order, Outcome, Said, parse

_NAME: Final = "fqtbench-host"


def do_job(text: str, firmware: bytes, image: bytes) -> None:
    """Do the job of an `Order`, given as JSON, on this host; all that comes of it is `Said`. Called by Dask."""
    worker = get_worker()
    host: Host = worker.plugins[_NAME]
    host.do(str(worker.get_current_task()), text, firmware, image, worker.log_event)


class Host(WorkerPlugin):  # type: ignore[misc]
    """This host's boards, and the jobs on them.

    Dask can't stop a job that runs in a thread; but it tells a plugin of the job's state. A job that is cancelled,
    because the orchestrator said so, or is gone, ends its board's worker process; so do all when the scheduler is gone.
    """

    name = _NAME

    def __init__(self, name: str, boards: Sequence[BoardInstance], worker: Sequence[str] = WORKER) -> None:
        offered = (OfferedBoard(name=b.name, model=b.model, resource=_resource(name, b)) for b in boards)
        self.card = Card(host=name, kit=own_kit(), boards=tuple(offered))
        self._instances = {board.name: board for board in boards}
        self._argv = worker
        made_of = environment()
        self._facts = {"name": name, **{key: made_of[key] for key in ("python", "platform", "libraries")}}
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}
        self._cancelled: set[str] = set()
        self._folder = Path()

    @property
    def resources(self) -> dict[str, float]:
        """Return what the scheduler counts: one of each board."""
        return {board.resource: 1.0 for board in self.card.boards}

    # -- called by Dask

    def setup(self, worker: Worker) -> None:
        """Begin anew, with an empty folder for what comes with jobs."""
        self._folder = Path(worker.local_directory)
        with self._lock:
            self._cancelled.clear()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End a job that Dask releases although it is at work; it stays cancelled until its thread has noticed."""
        with self._lock:
            if (start, finish) == ("executing", "released"):
                self._cancelled.add(str(key))
                if str(key) in self._pools:
                    self._pools[str(key)].stop()
            elif start == "cancelled":
                self._cancelled.discard(str(key))

    def teardown(self, worker: Worker) -> None:
        """End all jobs: the scheduler is gone, or this worker is told to go."""
        with self._lock:
            for pool in self._pools.values():
                pool.stop()

    # -- a job, in a thread of its own

    def do(
        self, key: str, text: str, firmware: bytes, image: bytes, send: Callable[[str, str], None]
    ) -> None:
        """Do the job of an `Order`, JSON; `send(topic, text)` takes what is to be `Said` of it, JSON."""
        order = parse(Order, text, "the orchestrator")
        numbers = itertools.count()

        def say(event: dict[str, Any] | None, outcome: Outcome | None = None) -> None:
            said = Said(key=key, number=next(numbers), event=event, outcome=outcome)
            send(order.topic, said.model_dump_json())

        def tell(_: Task, __: str, event: dict[str, Any]) -> None:
            say({**event, "lab_host": self._facts} if event["event"] == "attached" else event)

        try:
            self._run(key, order, firmware, image, tell)
        except FqtbenchError as error:
            say(None, Outcome(failure=self._failure(error)))
        else:
            say(None, Outcome())

    def _run(
        self,
        key: str,
        order: Order,
        firmware: bytes,
        image: bytes,
        tell: Callable[[Task, str, dict[str, Any]], None],
    ) -> None:
        name, model = order.charge.instance.name, order.charge.model
        if name not in self._instances:
            raise BoardError(f"no board {name} in its bench file; restart `fqtbench lab worker` there")
        files = {
            "elf": _FIRMWARE[model.link](self, order, firmware),
            "image": self._keep("model image", order.image_sha256, image),
        }
        job = order.job.model_copy(update=files)
        charge: Charge = order.charge.model_copy(update={"instance": self._instances[name]})
        with Pool([charge], self._argv) as pool:
            self._register(key, pool)
            try:
                pool.run([Task(order.task, model.name, job, order.deadline_s)], tell)
            except Stopped:
                raise BoardError(f"board {name}: the run was called off") from None
            finally:
                with self._lock:
                    del self._pools[key]

    def _register(self, key: str, pool: Pool) -> None:
        with self._lock:
            self._pools[key] = pool
            if key in self._cancelled:
                pool.stop()

    def _failure(self, error: FqtbenchError) -> Failure:
        """What is no use to any board anywhere stays so; what only this host lacks, such as a dataset, is its own."""
        ours = isinstance(error, UsageError) and not isinstance(error, ImageError)
        kind = "BoardError" if ours else type(error).__name__
        notes = "\n".join(getattr(error, "__notes__", ()))
        return Failure(kind=kind, message=f"host {self.card.host}: {error}", traceback=notes)

    def _keep(self, what: str, sha256: str, data: bytes) -> Path:
        """Keep content under its hash, in the worker's own folder, which Dask removes with it."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BoardError(f"the {what} that came is not the one that was sent (sha256 {sha256[:12]})")
        path = self._folder / sha256
        with self._lock:
            if not path.exists():
                write_durably(path, data)
        return path

    def shipped_firmware(self, order: Order, data: bytes) -> Path:
        """Return the ELF that came with the job."""
        return self._keep(f"firmware of {order.charge.model.name}", order.firmware_sha256, data)

    def own_library(self, order: Order, data: bytes) -> Path:
        """Return the engine's library as built on this host: another host's may not load here."""
        own = load_firmware(order.charge.model)
        if own.build_id != order.job.build_id:
            raise BoardError(
                f"its engine ({own.build_id}) is not the orchestrator's ({order.job.build_id}); "
                "install the same fqtbench and C compiler on both"
            )
        return own.path


_FIRMWARE: Final = {"uart": Host.shipped_firmware, "library": Host.own_library}


def _resource(host: str, board: BoardInstance) -> str:
    """Return what the scheduler knows a board by: its probe, wherever it is plugged in, or its place."""
    return f"board-{host}/{board.name}" if board.probe is None else f"board-{probe_key(board.probe)}"
