"""Entry point of a worker process: ``python -m fqtbench.bench.serve``. How the board is reached, its model says.

What a worker needs takes a second or more to import. Until then it has no board, and ends at once with its parent: at
first by the thread here, then by the one that reads jobs. What only some kinds of board need comes with the charge.
"""

import os
import select
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fqtbench.bench.access import BoardAccess, Emit
    from fqtbench.bench.job import Charge

_STDIN: Final = 0
_LOOK_MS: Final = 50
_ORPHANED: Final = 4  # as in bench/worker.py


def access_of(charge: "Charge", emit: "Emit") -> "BoardAccess":
    """Return the access to the board of `charge`."""
    if charge.model.link == "library":
        from fqtbench.bench.library import LibraryAccess  # noqa: PLC0415

        return LibraryAccess(charge, emit)
    from fqtbench.bench.wired import WiredAccess  # noqa: PLC0415  (pyOCD takes half a second)

    return WiredAccess(charge, emit)


def _end_with_parent(ready: threading.Event) -> None:
    """End when standard input closes, of which nothing is read, until `ready`."""
    poll = select.poll()
    poll.register(_STDIN, 0)  # only that it was closed
    while not ready.is_set():
        if poll.poll(_LOOK_MS):
            os._exit(_ORPHANED)


def _serve() -> None:
    ready = threading.Event()
    if hasattr(select, "poll"):  # not on Windows
        threading.Thread(target=_end_with_parent, args=(ready,), daemon=True).start()
    from fqtbench.bench import worker  # noqa: PLC0415

    ready.set()
    worker.main(access_of)


if __name__ == "__main__":
    _serve()
