"""Every command that takes long, what shows that it is at work, and Ctrl-C at a terminal."""

import os
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pexpect

from tests.bench.conftest import bench_file
from tests.command import COMMAND, run_command
from tests.experiment import suites
from tests.processes import MARKER, marked
from tests.regression import folders

INTERRUPTED: Final = 130
END_S: Final = 2.0  # on an idle computer
_BEGIN_DEADLINE_S: Final = 120
_END_DEADLINE_S: Final = 60
_WIDTH: Final = 200


@dataclass(frozen=True)
class Command:
    """A command line, a pattern of what it shows once it is at work, and its exit code after Ctrl-C."""

    arguments: tuple[str, ...]
    at_work: str
    exit_code: int = INTERRUPTED


# On board `desk`, in the folder that `furnish` makes.
COMMANDS: Final = {
    "run": Command(("run", "suite.yaml", "--board", "desk"), "epoch 1:"),
    "gate": Command(("gate", "suite.yaml", "--board", "desk", "--baseline", "recorded/out"), "epoch 1:"),
    "reproduce": Command(("reproduce", "scratch", "--quick"), "suite 1 of"),
    "kernels": Command(("kernels",), "kernels on"),
    "profile": Command(("profile", "suite.yaml", "--board", "virtual-nrf52840"), "profiling"),
    "doctor": Command(("doctor", "desk"), "examining"),
    "flash": Command(("flash", "desk"), "flash desk"),
    "reset": Command(("reset", "desk"), "reset desk"),
    "recover": Command(("recover", "desk", "--yes"), "recover desk"),
    "virtual": Command(("virtual", "nrf52840"), "probe", exit_code=0),
    "fetch": Command(("fetch", "mnist"), "fetching"),
    "report": Command(("report", "recorded/out"), "drawing"),
    "boards": Command(("boards",), "looking at"),
}


def furnish(folder: Path, addresses: dict[str, str]) -> None:
    """Make what the commands need: a board `desk`, a suite that takes long, results, a registry's client that hangs."""
    bench_file(folder, probe=addresses["probe"], serial=addresses["serial"])
    suites.write(folder, suites.tiny(training=suites.TINY["training"] | {"epochs": 5000}))
    folders.record(folder / "recorded")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "npm").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tools / "npm").chmod(0o755)


def interrupt(command: Command, folder: Path, reached: threading.Event | None = None) -> float:
    """Start a command at a terminal, press Ctrl-C when it is at work; returns after how many seconds it ended.

    With `reached` not before that is set.

    It must end with its exit code, without a traceback, and no process that it has started may be left.
    """
    word = uuid.uuid4().hex
    path = f"{folder / 'tools'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {MARKER: word, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
    terminal = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *command.arguments],
        cwd=str(folder),
        env=environment,
        dimensions=(50, _WIDTH),
        encoding="utf-8",
        timeout=_BEGIN_DEADLINE_S,
    )
    terminal.expect(command.at_work)
    assert reached is None or reached.wait(_BEGIN_DEADLINE_S)
    began_s = time.monotonic()
    terminal.sendintr()
    terminal.expect(pexpect.EOF, timeout=_END_DEADLINE_S)
    terminal.close()
    seconds = time.monotonic() - began_s
    left = marked(word)
    assert terminal.exitstatus == command.exit_code, terminal.before
    assert "Traceback" not in terminal.before, terminal.before
    assert not left
    return seconds


def assert_usable(folder: Path) -> None:
    """The board that was in use is free, and does what the next command says."""
    done = run_command("reset", "desk", cwd=folder, deadline_s=_BEGIN_DEADLINE_S)
    assert done.returncode == 0, done.stderr
