"""Promise: processes start with what they need and no more, and Ctrl-C finds them ready from the first moment."""

import json
import os
import subprocess
import sys

import pytest

from fqtbench.bench.job import Charge, ResetJob
from fqtbench.board import load_instances, load_models

_DEADLINE_S = 120
_HEAVY = ("distributed", "matplotlib", "numba", "onnx", "pandas", "pyarrow", "pyocd", "scipy", "unicorn")

# Runs a module as `python -m` does, in a process where an import of what it names fails.
_WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys({modules!r}))
sys.argv = [*{arguments!r}]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

# Presses Ctrl-C while the commands are imported, in a library that catches whatever comes.
_INTERRUPTED = """
import runpy, signal, sys
class Library:
    def find_spec(self, name, *_):
        if name == "fqtbench.cli":
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                pass
sys.meta_path.insert(0, Library())
sys.argv = ["fqtbench", "plan", "quickstart"]
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fqtbench", run_name="__main__")
"""


def _command(modules: tuple[str, ...], *arguments: str) -> list[str]:
    """Return the command of a module, `arguments`, without the libraries `modules`."""
    return [sys.executable, "-c", _WITHOUT.format(modules=modules, arguments=arguments)]


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)


def test_commands_are_there_without_what_draws_flashes_and_emulates() -> None:
    done = _run(_command(_HEAVY, "fqtbench", "run", "--help"))
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


def test_the_version_needs_no_command() -> None:
    done = _run(_command(("fqtbench.cli", "numpy", "pydantic", "typer"), "fqtbench", "--version"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fqtbench ")


@pytest.mark.skipif(os.name != "posix", reason="raises SIGINT")
def test_ctrl_c_while_commands_are_imported_is_one_line() -> None:
    done = _run([sys.executable, "-c", _INTERRUPTED])
    assert done.returncode == 130
    assert done.stderr == "fqtbench: interrupted\n"
    assert not done.stdout


def test_a_worker_without_a_probe_needs_no_library_for_probes() -> None:
    models = load_models()
    charge = Charge(instance=load_instances(models, None)["host"], model=models["host"])
    command = _command(_HEAVY, "fqtbench.bench.serve")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(f"{charge.model_dump_json()}\n{ResetJob().model_dump_json()}\n")
        worker.stdin.flush()
        attached, refused = (json.loads(worker.stdout.readline()) for _ in range(2))
    assert attached["event"] == "attached"
    assert "nothing to reset" in refused["message"]
