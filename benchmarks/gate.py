"""A kernel that takes one per cent more of a phase fails the gate, which names it: ``python -m benchmarks.gate``.

A loop of so many turns is planted into a kernel that one phase alone calls, the firmware is built, and `fqtbench gate`
runs with it against the committed baseline. The number of turns is the largest that stays within the bound.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.promise import ROOT, Promise, keep

_BOUND: Final = 0.01  # of the phase's cycles
_CHIP: Final = "nrf52840"
_KERNEL: Final = "engine/kernels/outer.c"  # the input's row of a dense layer's gradient
_WHERE: Final = "    const uint8_t *const end = x + n;\n"
# The suite's only dense layer.
_EXPECTED: Final = ("layer 4:fully_connected ∂W: +", "function fqt_outer_of: +")
_PHASE: Final = "backward"
_FIRST_TURNS: Final = 100
_MAX_BUILDS: Final = 8
_BUILD_DEADLINE_S: Final = 300
_GATE_DEADLINE_S: Final = 600
_WITH_FIRMWARE: Final = """
import sys, pathlib
import fqtbench.bench.firmware as firmware
folder = pathlib.Path(sys.argv.pop(1))
firmware.share = lambda name: folder
from fqtbench.cli import main
main()
"""


class _Outcome(NamedTuple):
    exit_code: int
    said: str
    finding: dict[str, Any]  # on the phase's time

    @property
    def change(self) -> float:
        return float(self.finding["change"])

    @property
    def named(self) -> bool:
        """Whether phase, layer and function are the planted ones, in the verdict and on the terminal."""
        causes = " ".join(self.finding["causes"])
        told = all(text in causes and text in self.said for text in _EXPECTED)
        return told and self.finding["phase"] == _PHASE and self.finding["confirmed"] is True


def _build(folder: Path, turns: int) -> Path:
    """Return a folder like firmware/prebuilt, with the loop planted."""
    sources = folder / "firmware"
    shutil.copytree(
        ROOT / "firmware", sources, ignore=shutil.ignore_patterns("build", "prebuilt", "__pycache__")
    )
    kernel = sources / _KERNEL
    text = kernel.read_text()
    if text.count(_WHERE) != 1:
        raise SystemExit(f"gate: {_KERNEL} has changed: plant the loop somewhere else")
    loop = f"    for (volatile uint32_t slow = 0; slow < {turns}; slow++) {{\n    }}\n"
    kernel.write_text(text.replace(_WHERE, _WHERE + loop))
    where = [f"BUILD={folder / 'build'}", f"OUT={folder / 'elf'}", f"PYTHON={sys.executable}"]
    command = ["make", "-s", "-C", str(sources), f"CHIP={_CHIP}", *where]
    subprocess.run(command, check=True, timeout=_BUILD_DEADLINE_S, stdout=subprocess.DEVNULL)
    return folder / "elf"


def _gate(firmware: Path, folder: Path) -> _Outcome:
    """Run the gate with that firmware."""
    verdict = folder / "verdict.json"
    baseline = ("--baseline", str(ROOT / "results" / "baseline" / "gate"))
    options = (
        "--board",
        f"virtual-{_CHIP}",
        "--out",
        str(folder / "out"),
        "--json",
        str(verdict),
        "--profile",
    )
    done = subprocess.run(
        [sys.executable, "-c", _WITH_FIRMWARE, str(firmware), "gate", "gate", *baseline, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_GATE_DEADLINE_S,
        check=False,
    )
    if not verdict.is_file():
        raise SystemExit(f"gate: exit code {done.returncode} and no verdict: {done.stderr.strip()}")
    findings = json.loads(verdict.read_text())["findings"]
    (found,) = (finding for finding in findings if finding["metric"] == f"{_PHASE}_s")
    return _Outcome(done.returncode, done.stdout, found)


def _largest(folder: Path) -> tuple[int, _Outcome]:
    """Return the most turns that stay within the bound, and what the gate says of them."""
    tried: dict[int, _Outcome] = {}
    turns = _FIRST_TURNS
    for _ in range(_MAX_BUILDS):
        here = folder / str(turns)
        here.mkdir()
        tried[turns] = _gate(_build(here, turns), here)
        print(f"{turns} turns: {tried[turns].change:+.3%}", flush=True)
        if len(tried) == 1:
            turns = max(1, int(turns * _BOUND / tried[turns].change))
        else:
            turns += 1 if tried[turns].change <= _BOUND else -1
        if turns in tried:
            break
    within = [turns for turns, outcome in tried.items() if outcome.change <= _BOUND]
    if not within:
        raise SystemExit(f"gate: no number of turns costs {_BOUND:.0%} or less: choose another kernel")
    return max(within), tried[max(within)]


def main() -> None:
    """Plant, build, run the gate."""
    if shutil.which("arm-none-eabi-gcc") is None:
        message = "gate: needs arm-none-eabi-gcc (Debian: gcc-arm-none-eabi)"
        if os.environ.get("FQTBENCH_TOOLS") == "required":
            raise SystemExit(message)
        print(f"{message}; left out")
        return
    with tempfile.TemporaryDirectory() as folder:
        turns, outcome = _largest(Path(folder))
    print(f"{turns} turns:\n{outcome.said}")
    kept = outcome.exit_code == 1 and outcome.named and 0 < outcome.change <= _BOUND
    named = "phase, layer and function named" if outcome.named else "not named"
    keep("gate_planted", Promise(9, f"a slow-down of at most {_BOUND:.0%} of the backward pass, planted in a kernel",
                                 "the gate fails and names phase, layer and function",
                                 f"{outcome.change:+.2%}: exit code {outcome.exit_code}, {named}", kept,
                                 "python -m benchmarks.gate"))  # fmt: skip


if __name__ == "__main__":
    main()
