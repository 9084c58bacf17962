"""Promise: nothing a worker does holds up its parent for longer than the deadline, and no worker outlives the pool."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from fqtbench.bench.job import Charge, FlashJob
from fqtbench.bench.pool import Pool, Task
from fqtbench.board import BoardInstance, load_models
from fqtbench.errors import BoardError, LinkError, ProbeError, UsageError, WrongDeviceError

WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
DEADLINE_S = 60.0
Events = list[tuple[str, str, dict[str, Any]]]


def _pool(n_boards: int = 1, *more: str, patience_s: float = 0, serial: str = "x") -> Pool:
    """Return a pool of nRF52840s and of one board of each other model, all numbered."""
    models = load_models()
    boards = [
        BoardInstance(name=f"board-{i}", model=model, probe=str(i), serial=serial)
        for i, model in enumerate(["nrf52840"] * n_boards + list(more))
    ]
    charges = [Charge(instance=b, model=models[b.model], patience_s=patience_s) for b in boards]
    return Pool(charges, WORKER)


def _task(
    folder: Path, script: str, name: str = "run 1", deadline_s: float = DEADLINE_S, model: str = "nrf52840"
) -> Task:
    return Task(name, model, FlashJob(elf=Path("x"), image=folder / script), deadline_s)


def _run(pool: Pool, tasks: list[Task]) -> Events:
    events: Events = []
    with pool:
        pool.run(tasks, lambda task, board, event: events.append((task.name, board, event)))
    return events


def _failing(pool: Pool, *tasks: Task) -> tuple[Events, BaseException]:
    """Run tasks of which one fails; those of script ``after`` are done only after that."""
    events: Events = []

    def listen(task: Task, board: str, event: dict[str, Any]) -> None:
        events.append((task.name, board, event))
        if event["event"] in ("retry", "lost"):
            assert isinstance(task.job, FlashJob)
            assert task.job.image is not None
            task.job.image.with_name("failed").touch()

    with pytest.raises(BoardError) as caught, pool:
        pool.run(tasks, listen)
    return events, caught.value


def _assert_gone(events: Events) -> None:
    pids = {event["pid"] for _, _, event in events if event["event"] == "pid"}
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_tasks_are_shared_among_boards_and_each_is_done_once(tmp_path: Path) -> None:
    events = _run(_pool(2), [_task(tmp_path, "ok", f"run {i}") for i in range(7)])
    assert sorted(name for name, _, event in events if event["event"] == "done") == [
        f"run {i}" for i in range(7)
    ]
    assert {board for _, board, _ in events} == {"board-0", "board-1"}
    _assert_gone(events)


@pytest.mark.parametrize("script", ["silent", "deaf"])
def test_a_worker_that_is_late_is_ended(tmp_path: Path, script: str) -> None:
    began_s = time.monotonic()
    events, error = _failing(_pool(), _task(tmp_path, script, deadline_s=2.0))
    assert "run 1 on board board-0: not done within its deadline of 2 s" in str(error)
    assert time.monotonic() - began_s < DEADLINE_S
    _assert_gone(events)


def test_a_deadline_begins_when_the_worker_has_its_board(tmp_path: Path) -> None:
    """What it may wait for the board, here longer than the test, comes before that and is no part of it."""
    events, error = _failing(_pool(patience_s=1000), _task(tmp_path, "attached", deadline_s=2.0))
    assert "not done within its deadline of 2 s" in str(error)
    _assert_gone(events)


def test_a_worker_that_waits_for_its_board_is_not_late(tmp_path: Path) -> None:
    """Its patience ends, not its deadline, which is over from the start."""
    began_s = time.monotonic()
    _failing(_pool(patience_s=2), _task(tmp_path, "silent", deadline_s=0))
    assert time.monotonic() - began_s >= 2


def test_a_worker_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    _, error = _failing(_pool(), _task(tmp_path, "crash"))
    expected = (
        "run 1 on board board-0: its worker process ended unexpectedly (exit code 9): boom at address 0"
    )
    assert expected in str(error)


def test_a_worker_that_prints_garbage_is_reported(tmp_path: Path) -> None:
    _, error = _failing(_pool(), _task(tmp_path, "garbage"))
    assert "this is no event" in str(error)


def test_a_link_that_fails_once_is_tried_again_on_a_fresh_worker(tmp_path: Path) -> None:
    events = _run(_pool(), [_task(tmp_path, "once-LinkError")])
    kinds = [event["event"] for _, _, event in events]
    assert kinds == ["pid", "failed", "retry", "rung", "pid", "done"]
    assert len({event["pid"] for _, _, event in events if event["event"] == "pid"}) == 2


def test_a_link_that_keeps_failing_is_given_up(tmp_path: Path) -> None:
    events, error = _failing(_pool(), _task(tmp_path, "LinkError"))
    assert isinstance(error, LinkError)
    assert str(error) == "run 1 on board board-0: no answer (given up after 3 attempts)"
    assert [event["event"] for _, _, event in events].count("pid") == 3


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    events, error = _failing(_pool(), _task(tmp_path, "WrongDeviceError"))
    assert isinstance(error, WrongDeviceError)
    assert str(error) == "run 1 on board board-0: no answer"
    assert [event["event"] for _, _, event in events].count("pid") == 1


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("LinkError", ["LinkError", "reset", "LinkError", "connect under reset", "LinkError"]),
        ("crash", ["WorkerError", "WorkerError", "reset", "WorkerError"]),
        ("DeviceError", ["DeviceError", "reset", "DeviceError"]),
    ],
)
def test_a_board_climbs_a_rung_before_each_attempt(tmp_path: Path, script: str, expected: list[str]) -> None:
    """All rungs are those of a board that can't switch its power, and that nobody may erase."""
    events, _ = _failing(_pool(), _task(tmp_path, script))
    assert _course(events) == expected


def test_a_rung_that_fails_is_followed_by_the_next_one(tmp_path: Path) -> None:
    events = _run(_pool(serial="broken:1"), [_task(tmp_path, "once-LinkError")])
    assert _course(events) == ["LinkError", "reset: ProbeError", "connect under reset", "done"]


def test_a_board_whose_every_rung_fails_is_given_up(tmp_path: Path) -> None:
    """By the error of its attempt: the rungs' own are on record."""
    events, error = _failing(_pool(serial="broken:1,2"), _task(tmp_path, "once-FlashError"))
    assert _course(events) == ["FlashError", "reset: ProbeError", "connect under reset: ProbeError"]
    assert str(error) == "run 1 on board board-0: no answer"


def _course(events: Events) -> list[str]:
    """Return what was tried, and how it went."""
    course = []
    for _, _, event in events:
        match event["event"]:
            case "failed":
                course.append(event["class"])
            case "rung":
                course.append(event["rung"] + (f": {event['class']}" if event["class"] else ""))
            case "done":
                course.append("done")
    return course


def _done(events: Events) -> dict[str, str]:
    """Return the board on which each run was done."""
    return {name: board for name, board, event in events if event["event"] == "done"}


def test_a_board_that_fails_hands_its_run_to_another_one_of_its_model(tmp_path: Path) -> None:
    """It gets no other run; all are done, and the failure is still told."""
    tasks = [_task(tmp_path, "busy-board-0", "run 1"), _task(tmp_path, "after", "run 2")]
    events, error = _failing(_pool(2), *tasks, _task(tmp_path, "ok", "run 3"))
    assert isinstance(error, ProbeError)
    assert str(error) == "run 1 on board board-0: no answer"
    assert _done(events) == {f"run {i}": "board-1" for i in (1, 2, 3)}
    assert [board for _, board, event in events if event["event"] == "retry"] == ["board-0"]
    _assert_gone(events)


def test_a_board_that_fails_stops_no_board_of_another_model(tmp_path: Path) -> None:
    """What only it could do stays undone; the others do all of theirs, also what began after it failed."""
    tasks = [_task(tmp_path, "busy-board-0", "run 1"), _task(tmp_path, "ok", "run 2")]
    others = [_task(tmp_path, "after", f"run {i}", model="rp2040") for i in (3, 4)]
    events, error = _failing(_pool(1, "rp2040"), *tasks, *others)
    assert isinstance(error, ProbeError)
    assert _done(events) == {"run 3": "board-1", "run 4": "board-1"}
    lost = [(name, board, event["reason"]) for name, board, event in events if event["event"] == "lost"]
    assert lost == [("run 1", "board-0", "run 1 on board board-0: no answer")]
    _assert_gone(events)


@pytest.mark.parametrize("script", ["silent", "crash"])
def test_a_late_or_dying_worker_stops_no_other_board(tmp_path: Path, script: str) -> None:
    other = _task(tmp_path, "after", "run 2", model="rp2040")
    events, error = _failing(_pool(1, "rp2040"), _task(tmp_path, script, deadline_s=2.0), other)
    assert "run 1 on board board-0" in str(error)
    assert _done(events) == {"run 2": "board-1"}


def test_every_board_that_failed_is_named(tmp_path: Path) -> None:
    tasks = [_task(tmp_path, "WrongDeviceError", "run 1"), _task(tmp_path, "crash", "run 2", model="rp2040")]
    _, error = _failing(_pool(1, "rp2040"), *tasks)
    assert str(error).startswith("2 boards failed: (")
    assert "run 1 on board board-0: no answer" in str(error)
    assert "run 2 on board board-1: its worker process ended" in str(error)
    assert "\n" not in str(error)


def test_what_no_board_can_help_ends_all_at_once(tmp_path: Path) -> None:
    """The other board would be silent until its deadline."""
    tasks = [_task(tmp_path, "silent", "run 1"), _task(tmp_path, "UsageError", "run 2", model="rp2040")]
    began_s = time.monotonic()
    with pytest.raises(UsageError, match="run 2 on board board-1"), _pool(1, "rp2040") as pool:
        pool.run(tasks, lambda *_: None)
    assert time.monotonic() - began_s < DEADLINE_S


def test_ctrl_c_ends_every_worker(tmp_path: Path) -> None:
    events: Events = []

    def interrupt(task: Task, board: str, event: dict[str, Any]) -> None:
        events.append((task.name, board, event))
        if len(events) == 2:
            raise KeyboardInterrupt

    began_s = time.monotonic()
    tasks = [_task(tmp_path, "silent", "run 1"), _task(tmp_path, "deaf", "run 2")]
    with pytest.raises(KeyboardInterrupt), _pool(2) as pool:
        pool.run(tasks, interrupt)
    assert time.monotonic() - began_s < DEADLINE_S
    _assert_gone(events)


def _hanging(folder: Path) -> tuple[Pool, Path]:
    """Return a pool whose board hangs in its first rung, and the pipe that says where."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    return _pool(serial=f"hang:{pipe}"), pipe


def test_a_rung_that_hangs_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is taken, here with all the time in the world."""
    pool, pipe = _hanging(tmp_path)
    threading.Thread(target=pipe.read_text, daemon=True).start()
    deadlines_s = iter((1.0, DEADLINE_S))
    events: Events = []

    def listen(task: Task, board: str, event: dict[str, Any]) -> None:
        events.append((task.name, board, event))
        if event["event"] == "retry":
            monkeypatch.setattr("fqtbench.bench.pool.RUNG_DEADLINE_S", next(deadlines_s))

    with pool:
        pool.run([_task(tmp_path, "once-LinkError")], listen)
    assert _course(events) == ["LinkError", "reset: DeadlineError", "connect under reset", "done"]


def test_ctrl_c_ends_a_worker_that_hangs_in_a_rung(tmp_path: Path) -> None:
    pool, pipe = _hanging(tmp_path)
    pids: list[int] = []
    main = threading.get_ident()

    def interrupt() -> None:
        pids.append(int(pipe.read_text()))
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _run(pool, [_task(tmp_path, "LinkError")])
    thread.join(DEADLINE_S)
    assert not psutil.pid_exists(pids[0])


def test_a_task_for_a_board_that_is_not_there_is_refused(tmp_path: Path) -> None:
    task = _task(tmp_path, "ok")
    task.model = "teapot"
    with pytest.raises(BoardError, match="no board of model teapot"):
        _run(_pool(), [task])
