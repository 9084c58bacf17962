"""A worker of the pool that does what its job's image path says: sleep, die, fail, or succeed. For tests of the pool.

The name of the `image` file is the script: ``ok``, ``silent`` (never answers), ``deaf`` (nor ends when its input
closes), ``crash``, ``garbage``, ``link`` (LinkError each time), ``link-once`` (the first time, remembered in a file
beside it), ``device`` (DeviceError).
"""

import json
import os
import signal
import sys
from pathlib import Path

ERRORS = {"link": "LinkError", "link-once": "LinkError", "device": "DeviceError"}


def emit(**event: object) -> None:
    print(json.dumps(event), flush=True)


def do(script: Path) -> None:
    emit(event="pid", pid=os.getpid())
    match script.name:
        case "silent":
            return
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
            emit(**{"event": "error", "class": ERRORS[name], "message": "no answer", "traceback": ""})
        case _:
            emit(event="done")


def main() -> None:
    sys.stdin.readline()
    for line in sys.stdin:
        do(Path(json.loads(line)["image"]))


if __name__ == "__main__":
    main()
