"""A worker of the pool that does what its job's image path says: sleep, die, fail, or succeed. For tests of the pool.

The name of the `image` file is the script: ``ok``, ``silent`` (never answers), ``attached`` (has its
board, then never answers), ``deaf`` (nor ends when its input
closes), ``crash``, ``garbage``, ``link`` (LinkError each time), ``link-once`` (the first time, remembered in a file
beside it), ``device`` (DeviceError), ``usage`` (UsageError), ``lost-B`` (ProbeError on board B, done on every other
one), ``after`` (done when the test has put a file ``failed`` beside it).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

ERRORS = {"link": "LinkError", "link-once": "LinkError", "device": "DeviceError", "usage": "UsageError"}
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
        case name if name in ERRORS:
            memory = script.with_name("failed-before")
            if name == "link-once" and memory.exists():
                emit(event="done")
                return
            memory.touch()
            fail(ERRORS[name])
        case name if name == f"lost-{board}":
            fail("ProbeError")
        case "after":
            while not script.with_name("failed").exists():
                time.sleep(POLL_S)
            emit(event="done")
        case _:
            emit(event="done")


def main() -> None:
    board = json.loads(sys.stdin.readline())["instance"]["name"]
    for line in sys.stdin:
        do(Path(json.loads(line)["image"]), board)


if __name__ == "__main__":
    main()
