"""A board's own command that takes its supply away and brings it back, e.g. ``uhubctl -a cycle``."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fqtbench.bench.launch import kill_group
from fqtbench.errors import BoardError
from fqtbench.printable import printable

DEADLINE_S: Final = 30.0  # uhubctl's own cycle takes 2 s, a PDU's may take 15
_SHOWN_CHARACTERS: Final = 200


class PowerCycleCommand:
    """The command of board `board`, without a shell and without input."""

    def __init__(self, argv: Sequence[str], board: str, deadline_s: float = DEADLINE_S) -> None:
        self._argv, self._board, self._deadline_s = list(argv), board, deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run it to its end; BoardError if it can't be run, fails, or is late."""
        what = f"board {self._board}: power cycle by `{' '.join(self._argv)}`"
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own can be ended whole
            )
        except OSError as error:
            raise BoardError(f"{what}: can't be run: {error.strerror or error}") from error
        try:
            output, _ = self._process.communicate(timeout=self._deadline_s)
        except subprocess.TimeoutExpired:
            self.end(0)
            raise BoardError(
                f"{what}: not done within {self._deadline_s:g} s, ended; look whether the board has power"
            ) from None
        if self._process.returncode != 0:
            said = printable(" ".join(output.decode(errors="replace").split()))[-_SHOWN_CHARACTERS:]
            raise BoardError(f"{what}: exit code {self._process.returncode}: {said or 'it said nothing'}")

    def end(self, patience_s: float) -> None:
        """End a command that runs, from any thread: by SIGTERM, so that it may still switch the supply on."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        kill_group(process)
        process.wait()
