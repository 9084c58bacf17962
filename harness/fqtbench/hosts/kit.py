"""Which fqtbench a process is: what must be the same wherever a suite runs."""

import hashlib
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

import fqtbench
from fqtbench.training.arithmetic import ARITH_ID

_PACKAGE: Final = Path(fqtbench.__file__).resolve().parent


class Kit(BaseModel):
    """Version, a hash of the package's sources, the arithmetic, Python (major.minor) and distributed.

    Firmware is no part of it: it travels with each job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fqtbench: str
    source: str
    arith_id: int
    python: str
    distributed: str

    def difference(self, other: "Kit") -> str:
        """Return "here X, there Y" for what `other`, which is there, has otherwise; empty if nothing."""
        mine, theirs = self.model_dump(), other.model_dump()
        differing = [name for name in mine if mine[name] != theirs[name]]
        if not differing:
            return ""
        here, there = (", ".join(f"{n} {side[n]}" for n in differing) for side in (mine, theirs))
        return f"here {here}; there {there}"


@lru_cache(maxsize=1)
def own_kit() -> Kit:
    """Return this process's."""
    return Kit(
        fqtbench=fqtbench.__version__,
        source=_source_hash(),
        arith_id=ARITH_ID,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        distributed=metadata.version("distributed"),
    )


def _source_hash() -> str:
    """Return a hash of the package's modules, wherever it is installed."""
    found = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py"), key=lambda p: p.relative_to(_PACKAGE).as_posix()):
        found.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]
