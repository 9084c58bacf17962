"""Building the engine as a shared library, once for each version of sources, flags and compiler."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from fqtbench.errors import BoardError
from fqtbench.paths import share

# -O3 may reorder no float operation; the other flags are those of the firmware (docs/arithmetic.md, rules).
FLAGS: Final = (
    *("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-shared", "-fPIC"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"),
)
_COMPILERS: Final = ("cc", "gcc", "clang")
_DEADLINE_S: Final = 300.0
_GLUE: Final = Path(__file__).with_name("library.c")


@dataclass(frozen=True)
class EngineLibrary:
    """A built library. `source_id`: hash of sources and flags, the same on every computer; `compiler`: its version."""

    path: Path
    source_id: str
    compiler: str


def build_library(extra_flags: Sequence[str] = (), folder: Path | None = None) -> EngineLibrary:
    """Return the library, built if it is not in `folder`, by default the user's cache.

    Raises BoardError if there is no C compiler, or if it fails; several processes may build at once.
    """
    compiler = _find_compiler()
    version = _output([compiler, "--version"]).splitlines()[0]
    flags = (*FLAGS, *extra_flags)
    source_id = _hash(flags)
    place = folder or user_cache_path("fqtbench") / "engine"
    name = hashlib.sha256(f"{source_id} {version}".encode()).hexdigest()[:24]
    library = place / f"fqt-{name}.so"
    if not library.exists():
        _compile(compiler, flags, library)
    return EngineLibrary(library, source_id, version)


def _sources() -> list[Path]:
    engine = share("firmware/engine")
    return [*sorted(engine.glob("*.c")), *sorted((engine / "kernels").glob("*.c")), _GLUE]


def _hash(flags: Sequence[str]) -> str:
    engine = share("firmware/engine")
    digest = hashlib.sha256(" ".join(flags).encode())
    for path in (*sorted(engine.rglob("*.[ch]")), _GLUE):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _find_compiler() -> str:
    wanted = os.environ.get("CC")
    for name in (wanted,) if wanted else _COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise BoardError(
        f"board host: no C compiler ({wanted or ', '.join(_COMPILERS)}) to build the training engine with; install one "
        "(Debian: gcc), or train on a virtual board: --board virtual-nrf52840"
    )


def _compile(compiler: str, flags: Sequence[str], library: Path) -> None:
    """Build beside the target and rename: another process sees all of it or nothing."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        include = f"-I{share('firmware/engine')}"
        _output([compiler, *flags, include, "-o", str(built), *map(str, _sources()), "-lm"])
        built.replace(library)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BoardError(f"board host: the C compiler {command[0]} can't be run: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise BoardError(
            f"board host: {command[0]} failed to build the training engine: {said[0] if said else 'it said nothing'}"
        )
    return done.stdout
