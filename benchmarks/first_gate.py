"""The first gate: ``python -m benchmarks.first_gate [DIR]`` keeps the figures of the suite fashion-mnist-60k.

DIR: where the suite was run, or where it is run now (an hour on one core); what is recorded there is not repeated.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.promise import ROOT, Promise, keep

_SUITE: Final = "fashion-mnist-60k"
_LEAST_UINT8: Final = 0.88
_MOST_LOST: Final = 0.005


def _keep(folder: Path) -> pd.DataFrame:
    """Run what is missing; copy summary and figures to results/. Returns the summary."""
    command = [sys.executable, "-m", "fqtbench.cli", "run", _SUITE, "--out", str(folder), "--resume"]
    subprocess.run(command, check=True)
    kept = ROOT / "results" / _SUITE
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    shutil.copy(folder / "summary.csv", kept)
    shutil.copytree(folder / "figures", kept / "figures")
    return pd.read_csv(kept / "summary.csv")


def _promise(order: int, batch: int, table: pd.DataFrame) -> Promise:
    """uint8 against float32 at one batch size; the mean of the seeds, and the worst seed of uint8."""
    own = (
        table[table["sweep.training.batch"] == batch].set_index("sweep.training.configuration").test_accuracy
    )
    uint8, float32 = own["uint8"], own["float32"]
    value = f"{100 * uint8.mean():.2f} % (worst seed {100 * uint8.min():.2f} %), float32 {100 * float32.mean():.2f} %"
    kept = uint8.min() >= _LEAST_UINT8 and float32.mean() - uint8.mean() <= _MOST_LOST
    what = f"Fashion-MNIST, 60 000 images, 4 epochs, uint8, batch {batch}, {len(uint8)} seeds, board host"
    bound = "≥ 88 %, within 0.5 points of float32"
    return Promise(order, what, bound, value, bool(kept), "python -m benchmarks.first_gate")


def main() -> None:
    """Keep a promise for each batch size."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "out" / _SUITE
    table = _keep(folder)
    for order, batch in ((11, 48), (12, 1)):
        keep(f"first_gate_batch_{batch}", _promise(order, batch, table))


if __name__ == "__main__":
    main()
