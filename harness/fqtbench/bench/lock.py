"""One lock per probe, for every user of the host; the kernel frees it when its holder dies."""

import getpass
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from fqtbench.board import probe_key
from fqtbench.errors import BusyError, ProbeError

# A folder that all users of the host share: TMPDIR may be a user's own.
_FOLDER: Final = (Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())) / "fqtbench-locks"
_FOLDER_MODE: Final = 0o1777  # like /tmp: whoever uses the bench may lock, nobody removes another's lock
_FILE_MODE: Final = 0o666
PATIENCE_S: Final = 3.0  # a holder that was killed lets go when its last thread has ended, a moment later
_HOLDER_LIMIT_BYTES: Final = 4096


@dataclass(frozen=True)
class Holder:
    """Who holds a probe, as far as it is known: process id, user, and the board that it uses the probe for."""

    pid: int | None = None
    user: str | None = None
    board: str | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid} of {self.user} (board {self.board})"


def probe_holder(probe_id: str, folder: Path = _FOLDER) -> Holder | None:
    """Return who holds the probe `probe_id`; None if nobody does. Takes nothing from anybody."""
    lock, holder = _files(probe_id, folder)
    return _read_holder(holder) if _is_locked(lock) else None


class ProbeLock:
    """Holds the probe `probe_id` while the context lasts; BusyError, naming the holder, if somebody else has it.

    `patience_s`: how long it waits for the probe. `on_wait` is told, before it waits, for whom and how long.
    """

    def __init__(
        self,
        probe_id: str,
        board: str,
        folder: Path = _FOLDER,
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._probe_id, self._board = probe_id, board
        self._patience_s, self._on_wait = patience_s, on_wait
        lock, self._holder = _files(probe_id, folder)
        _make(folder)
        self._lock = FileLock(lock, mode=_FILE_MODE)

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except Timeout:
            waited = f" after {self._patience_s:g} s of waiting" if self._patience_s > PATIENCE_S else ""
            raise BusyError(
                f"board {self._board}: probe {self._probe_id} is in use by {_read_holder(self._holder)}{waited}; "
                "wait for it (`fqtbench run --wait SECONDS`), or end it"
            ) from None
        except OSError as error:
            raise ProbeError(f"board {self._board}: can't lock probe {self._probe_id}: {error}") from error
        self._say_who()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            if self._patience_s <= 0:
                raise
            who = _read_holder(self._holder)
            self._on_wait(f"waiting {self._patience_s:g} s for probe {self._probe_id}, in use by {who}")
            self._lock.acquire(timeout=self._patience_s)

    def _say_who(self) -> None:
        """The name of the holder is a courtesy; the lock itself is held."""
        words = json.dumps({"pid": os.getpid(), "user": _user(), "board": self._board})
        with suppress(OSError):
            self._holder.unlink(missing_ok=True)
        with suppress(OSError):
            # Another user's file, left by a kill, can't be removed here and must not be opened by O_CREAT
            # (fs.protected_regular); it can be written to. Another user's link would lead to a file of ours.
            create = 0 if self._holder.exists() else os.O_CREAT
            flags = os.O_WRONLY | os.O_TRUNC | create | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(self._holder, flags, _FILE_MODE), "w") as stream:
                if hasattr(os, "fchmod"):
                    os.fchmod(stream.fileno(), _FILE_MODE)
                stream.write(words)


def _files(probe_id: str, folder: Path) -> tuple[Path, Path]:
    """Return the lock of a probe, however its id is written, and the file that says who holds it."""
    name = hashlib.sha256(probe_key(probe_id).encode()).hexdigest()[:16]
    return folder / f"{name}.lock", folder / f"{name}.holder"


if os.name == "posix":
    import fcntl

    def _is_locked(lock: Path) -> bool:
        """A shared lock, for an instant: two that ask don't see each other, and one that takes tries again."""
        try:
            with lock.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # no such file: nobody has ever held it
        return False

else:

    def _is_locked(lock: Path) -> bool:
        """No shared locks here: two that ask at the same instant may see each other."""
        if not lock.exists():
            return False
        try:
            with FileLock(lock, timeout=0, mode=_FILE_MODE):
                return False
        except Timeout:
            return True


def _read_holder(path: Path) -> Holder:
    """Return what a holder wrote; anybody may write to the folder, and a killed one leaves its name behind."""
    try:
        with path.open("rb") as stream:
            said: Any = json.loads(stream.read(_HOLDER_LIMIT_BYTES))
        pid, user, board = int(said["pid"]), str(said["user"]), str(said["board"])
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()
    if not _is_alive(pid) or not (user + board).isprintable():
        return Holder()
    return Holder(pid, user, board)


def _is_alive(pid: int) -> bool:
    if os.name != "posix" or pid <= 0:
        return pid > 0
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True


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
