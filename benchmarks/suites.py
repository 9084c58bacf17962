"""Run the shipped suites and keep their tables and figures in results/: ``python -m benchmarks.suites``."""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.promise import ROOT, Promise, keep

_SUITES: Final = ("quickstart", "fashion-mnist")


def _run(name: str, folder: Path) -> Path:
    """Run a suite; copy its summary and figures to results/NAME. Returns that folder."""
    out, kept = folder / name, ROOT / "results" / name
    subprocess.run([sys.executable, "-m", "fqtbench.cli", "run", name, "--out", str(out)], check=True)
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    shutil.copy(out / "summary.csv", kept)
    shutil.copytree(out / "figures", kept / "figures")
    return kept


def main() -> None:
    """Run them, and keep the accuracy that is promised."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: _run(name, Path(folder)) for name in _SUITES}
    with (kept["fashion-mnist"] / "summary.csv").open() as file:
        accuracy = float(next(csv.DictReader(file))["test_accuracy"])
    what = "Fashion-MNIST from scratch on the device, uint8: 6 000 images, 3 epochs, 2 000 test images"
    keep("fashion_mnist", Promise(3, what, "≥ 82 %", f"{100 * accuracy:.2f} %", accuracy >= 0.82,
                                  "fqtbench run fashion-mnist"))  # fmt: skip


if __name__ == "__main__":
    main()
