"""Entry point of a worker process: ``python -m fqtbench.bench.serve``. How the board is reached, its model says."""

from typing import Final

from fqtbench.bench.access import BoardAccess, Emit
from fqtbench.bench.job import Charge
from fqtbench.bench.library import LibraryAccess
from fqtbench.bench.wired import WiredAccess
from fqtbench.bench.worker import AccessOf, main

_ACCESS: Final[dict[str, AccessOf]] = {"uart": WiredAccess, "library": LibraryAccess}


def access_of(charge: Charge, emit: Emit) -> BoardAccess:
    """Return the access to the board of `charge`."""
    return _ACCESS[charge.model.link](charge, emit)


if __name__ == "__main__":
    main(access_of)
