"""A worker of the pool that does what its job's image path says: sleep, die, fail, or succeed. For tests of the pool.

The name of the `image` file is the script: ``ok``, ``silent`` (never answers), ``attached`` (has its board, then never
answers), ``deaf`` (nor ends when its input closes), ``crash``, ``garbage``, the name of a class
of errors (that error each time), ``once-CLASS`` (the first time, remembered in a file beside it), ``busy-B``
(BusyError on board B, done on every other one), ``after`` (done when the test has put a file ``failed`` beside it).

A rung of the ladder succeeds, but for those, by number, that the serial line of its board lists after ``broken:``. The
first one says its process id into the pipe that follows ``hang:``, and never ends.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

POLL_S = 0.01


def emit(**event: object) -> None:
    print(json.dumps(event), flush=True)


def fail(kind: str) -> None:
    emit(**{"event": "error", "class": kind, "message": "no answer", "traceback": ""})


def do(script: Path, board: str) -> None:
    emit(event="pid", pid=os.getpid())
    match script.name:
        case "silent":
            return
        case "attached":
            emit(event="attached")
        case "deaf":
            signal.pause()
        case "crash":
            print("boom at address 0", file=sys.stderr, flush=True)
            os._exit(9)
        case "garbage":
            print("this is no event", flush=True)
            os._exit(0)
        case name if name.endswith("Error"):
            memory = script.with_name("failed-before")
            if name.startswith("once-") and memory.exists():
                emit(event="done")
                return
            memory.touch()
            fail(name.removeprefix("once-"))
        case name if name == f"busy-{board}":
            fail("BusyError")
        case "after":
            while not script.with_name("failed").exists():
                time.sleep(POLL_S)
            emit(event="done")
        case _:
            emit(event="done")


def restore(rung: int, serial: str) -> None:
    broken = serial.partition("broken:")[2].split(",")
    pipe = serial.partition("hang:")[2]
    if pipe and rung == 1:
        Path(pipe).write_text(str(os.getpid()))
        signal.pause()
    if str(rung) in broken:
        fail("ProbeError")
    else:
        emit(event="done")


def main() -> None:
    board = json.loads(sys.stdin.readline())["instance"]
    for line in sys.stdin:
        job = json.loads(line)
        if job["kind"] == "restore":
            restore(job["rung"], board["serial"])
        else:
            do(Path(job["image"]), board["name"])


if __name__ == "__main__":
    main()
