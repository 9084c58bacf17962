"""Building the engine as a shared library, once for each version of sources, flags and compiler."""

import hashlib
import os
import platform
import shlex
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

    Raises BoardError if there is no C compiler, if it fails, or if `folder` can't be written. Several processes may
    build at once.
    """
    compiler = _find_compiler()
    version = _output([*compiler, "--version"], "asked for its version").splitlines()[0]
    flags = (*FLAGS, *extra_flags)
    source_id = _hash(flags)
    place = folder or user_cache_path("fqtbench") / "engine"
    # Of the machine too: a home, and its cache, may be shared by machines of several kinds.
    name = hashlib.sha256(f"{source_id} {compiler[1:]} {version} {platform.machine()}".encode()).hexdigest()
    library = place / f"fqt-{name[:24]}.so"
    if not library.exists():
        _compile(compiler, flags, library)
    return EngineLibrary(library, source_id, version)


def _sources() -> list[Path]:
    engine = share("firmware/engine")
    return [*sorted(engine.glob("*.c")), *sorted((engine / "kernels").glob("*.c")), _GLUE]


def _hash(flags: Sequence[str]) -> str:
    engine = share("firmware/engine")
    named = {path.relative_to(engine).as_posix(): path for path in engine.rglob("*.[ch]")}
    digest = hashlib.sha256(" ".join(flags).encode())
    for name, path in (*sorted(named.items()), (_GLUE.name, _GLUE)):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _find_compiler() -> list[str]:
    """Return the command: that of the environment variable CC, arguments and all, or the first compiler found."""
    wanted = shlex.split(os.environ.get("CC", ""))
    for name in wanted[:1] or _COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return [path, *wanted[1:]]
    sought = f"CC={wanted[0]}" if wanted else ", ".join(_COMPILERS)
    raise BoardError(
        f"board host: no C compiler ({sought}) to build the training engine with; install one (Debian: gcc), or train "
        "on a virtual board: --board virtual-nrf52840"
    )


def _compile(compiler: Sequence[str], flags: Sequence[str], library: Path) -> None:
    """Build beside the target and rename: another process sees all of it or nothing."""
    include = f"-I{share('firmware/engine')}"
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            built = Path(folder) / library.name
            command = [*compiler, *flags, include, "-o", str(built), *map(str, _sources()), "-lm"]
            _output(command, "building the training engine")
            built.replace(library)
    except OSError as error:
        raise BoardError(
            f"board host: the training engine can't be kept in {library.parent}: {error.strerror or error}; make that "
            "folder writable, or choose another by XDG_CACHE_HOME"
        ) from error


def _output(command: Sequence[str], doing: str) -> str:
    """Return what the compiler printed; BoardError with its first error if it fails, or isn't done in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BoardError(f"board host: the C compiler {command[0]} can't be run: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in said if "error" in line), said[0])
        raise BoardError(
            f"board host: the C compiler {command[0]} failed, {doing}: {first}; choose another by CC"
        )
    return done.stdout
