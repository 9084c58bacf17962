"""Take a profile: the first steps of one run of a suite, on one board, under its profiler."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fqtbench.bench.job import AnyJob, Charge, ProfileJob
from fqtbench.bench.pool import Listener, Pool, Task
from fqtbench.bench.profiler import Trace
from fqtbench.board import BoardInstance, BoardModel
from fqtbench.errors import UsageError
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.spec import Suite
from fqtbench.profile.analyse import break_down
from fqtbench.profile.engine import watch
from fqtbench.profile.macs import macs_per_step
from fqtbench.profile.model import Device, Memory, MemoryUse, Profile, Subject
from fqtbench.profile.symbols import FirmwareMap, Usage, read_map
from fqtbench.training.image import Image

DEFAULT_BATCHES: Final = 1
Do = Callable[[str, AnyJob, float, Listener], None]
"""Does a job of this name, within so many seconds, and tells its events."""


@dataclass(frozen=True)
class OtherFirmware:
    """Firmware that is to be profiled instead of the board model's; it leaves networks the same arena."""

    path: Path
    sha256: str
    build_id: str


@dataclass(frozen=True)
class Request:
    """What to profile: run number `run` of a suite, `steps` of it (None: a mini-batch) behind `after` others."""

    suite: Suite
    board: BoardInstance
    model: BoardModel
    run: int = 1
    after: int = 0
    steps: int | None = None
    dataset_root: Path | None = None
    firmware: OtherFirmware | None = None


def require_profiler(board: BoardInstance, known: Iterable[BoardInstance]) -> None:
    """UsageError, naming the boards that can, if `board` can't count what it executes."""
    if not board.profiler:
        able = ", ".join(sorted(b.name for b in known if b.profiler)) or "none is known"
        raise UsageError(
            f"board {board.name} can't be profiled: it has no profiler, which counts what the firmware executes; "
            f"boards that have one: {able}"
        )


def take_profile(request: Request, do: Do | None = None) -> tuple[Profile, FirmwareMap]:
    """Flash, train, count; returns the profile, and the map of the firmware that was profiled.

    `do`: by a worker that holds the board already; else by one of its own. Raises UsageError, ImageError, BoardError.
    """
    run = _plan(request)
    firmware = read_map(run.firmware.path)
    events = _execute(request, run, firmware, do or _by_own_worker(request))
    return _profile(request, run, firmware, events), firmware


def _plan(request: Request) -> Run:
    """Compile the one run that is asked for, not the whole sweep."""
    variants = request.suite.variants
    if not 1 <= request.run <= len(variants):
        raise UsageError(
            f"--run {request.run}: suite {request.suite.spec.name} has runs 1 to {len(variants)}"
        )
    alone = replace(request.suite, variants=(variants[request.run - 1],))
    (run,) = plan_runs(alone, [request.model], request.dataset_root)
    other = request.firmware
    if other is not None:
        firmware = replace(run.firmware, path=other.path, sha256=other.sha256, build_id=other.build_id)
        run = replace(run, firmware=firmware)
    return replace(run, number=request.run)


def _steps(request: Request, run: Run) -> int:
    batch = int(run.identity["spec"]["training"]["batch"])
    return DEFAULT_BATCHES * batch if request.steps is None else request.steps


def _execute(request: Request, run: Run, firmware: FirmwareMap, do: Do) -> dict[str, dict[str, Any]]:
    """Do the job in a worker; returns its events by kind."""
    events: dict[str, dict[str, Any]] = {}

    def keep(task: Task, board: str, event: dict[str, Any]) -> None:
        events[event["event"]] = event

    with tempfile.TemporaryDirectory(prefix="fqtbench-profile-") as folder:
        image = Path(folder) / "image.bin"
        image.write_bytes(run.compiled.image)
        job = ProfileJob(
            train=run.job(image),
            watch=watch(firmware, run.compiled.image, request.model.memory.image_origin),
            after=request.after,
            steps=_steps(request, run),
        )
        do(f"profile of {run.name}", job, request.suite.spec.deadline_s, keep)
    return events


def _by_own_worker(request: Request) -> Do:
    def do(what: str, job: AnyJob, deadline_s: float, listen: Listener) -> None:
        with Pool([Charge(instance=request.board, model=request.model)]) as pool:
            pool.run([Task(what, request.model.name, job, deadline_s)], listen)

    return do


def _profile(request: Request, run: Run, firmware: FirmwareMap, events: dict[str, dict[str, Any]]) -> Profile:
    event, attached = events["profile"], events["attached"]
    trace = Trace.model_validate(event["trace"])
    steps = _steps(request, run)
    layers = run.compiled.layers
    macs = macs_per_step(Image.parse(run.compiled.image), layers)
    parts = break_down(trace, firmware, layers, [{p: n * steps for p, n in m.items()} for m in macs])
    clock_hz = request.model.clock_hz
    assert clock_hz is not None, "a board with a profiler has a clock"
    return Profile(
        subject=Subject(
            suite=request.suite.spec.name,
            run=run.label,
            board=request.board.name,
            board_model=request.model.name,
            clock_hz=clock_hz,
            origin=attached["cycles"],
            timing_model_id=attached["timing_model_id"],
            cycles_uncertainty=attached["cycles_uncertainty"],
            firmware_sha256=run.firmware.sha256,
            build_id=run.firmware.build_id,
            image_sha256=run.compiled.sha256,
            after=request.after,
            steps=steps,
            batch=int(run.identity["spec"]["training"]["batch"]),
        ),
        cycles=trace.cycles,
        asleep_cycles=trace.outside_cycles,
        strays=trace.strays,
        layers=parts.layers,
        rest=parts.rest,
        outside=parts.outside,
        functions=parts.functions,
        blocks=parts.blocks,
        stacks=parts.stacks,
        device=Device(**{name: tuple(counts) for name, counts in event["device"].items()}),
        memory=_memory(event["status"], len(run.compiled.image), firmware),
    )


def _memory(status: dict[str, Any], image_bytes: int, firmware: FirmwareMap) -> Memory:
    return Memory(
        stack_bytes=status["stack_bytes"],
        stack_peak_bytes=status["stack_peak_bytes"],
        arena_bytes=status["arena_bytes"],
        arena_peak_bytes=status["arena_peak_bytes"],
        image_bytes=image_bytes,
        sections=tuple(_use(u) for u in firmware.sections),
        symbols=tuple(_use(u) for u in firmware.symbols),
    )


def _use(usage: Usage) -> MemoryUse:
    return MemoryUse(name=usage.name, flash_bytes=usage.flash_bytes, ram_bytes=usage.ram_bytes)
