"""One lock per probe, for every user of the host; the kernel frees it when its holder dies."""

import getpass
import hashlib
import json
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from filelock import FileLock, Timeout

from fqtbench.errors import ProbeError

# A folder that all users of the host share: TMPDIR may be a user's own.
_FOLDER: Final = (Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())) / "fqtbench-locks"
_FOLDER_MODE: Final = 0o1777  # like /tmp: whoever uses the bench may lock, nobody removes another's lock
_FILE_MODE: Final = 0o666
_PATIENCE_S: Final = 3.0  # a holder that was killed lets go when its last thread has ended, a moment later


class ProbeLock:
    """Holds the probe `probe_id` while the context lasts; ProbeError, naming the holder, if somebody else has it."""

    def __init__(
        self, probe_id: str, board: str, folder: Path = _FOLDER, patience_s: float = _PATIENCE_S
    ) -> None:
        self._probe_id, self._board = probe_id, board
        name = hashlib.sha256(probe_id.encode()).hexdigest()[:16]
        self._holder = folder / f"{name}.holder"
        _make(folder)
        self._lock = FileLock(folder / f"{name}.lock", timeout=patience_s, mode=_FILE_MODE)

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
        except Timeout:
            raise ProbeError(
                f"board {self._board}: probe {self._probe_id} is in use by {self._who()}; wait for it, or end it"
            ) from None
        except OSError as error:
            raise ProbeError(f"board {self._board}: can't lock probe {self._probe_id}: {error}") from error
        self._say_who()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _say_who(self) -> None:
        try:
            self._holder.unlink(missing_ok=True)
            self._holder.write_text(json.dumps({"pid": os.getpid(), "user": _user(), "board": self._board}))
        except OSError:
            return  # the name of the holder is a courtesy; the lock itself is held

    def _who(self) -> str:
        try:
            holder = json.loads(self._holder.read_text())
            return f"process {holder['pid']} of {holder['user']} (board {holder['board']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        if os.name == "posix" and folder.stat().st_uid == os.getuid():
            folder.chmod(_FOLDER_MODE)
    except OSError as error:
        raise ProbeError(f"can't make the folder of locks {folder}: {error}") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"
