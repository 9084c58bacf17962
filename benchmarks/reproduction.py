"""The reproduction kept in results/reference, and what it promises: ``python -m benchmarks.reproduction [--out DIR]``.

Runs `fqtbench reproduce` whole (an hour or two; an interrupted one goes on), copies its tables and figures, and keeps
the promises. The paper's values that bounds refer to are read from its published table.
"""

import shutil
import sys
import time
from typing import Final

import pandas as pd

from benchmarks.promise import ROOT, Promise, keep
from benchmarks.suite_runs import fqtbench
from fqtbench.bench.firmware import load_firmware
from fqtbench.board import load_models
from fqtbench.reproduction.drawings.partial import summarize
from fqtbench.reproduction.figures import FIGURES
from fqtbench.reproduction.published import published

REFERENCE: Final = ROOT / "results" / "reference"
_OUT: Final = ROOT / "out" / "reproduction"
_QUICK: Final = ROOT / "out" / "reproduction-quick"
_KEPT: Final = ("tables", "figures")
_COMMAND: Final = "python -m benchmarks.reproduction"
_MOST_LOST: Final = 1.0  # points of accuracy
_LEAST_SPEEDUP: Final = 5.0
_MOST_RAM: Final = 0.80  # of the paper's
_MOST_FLASH: Final = 1.05
_PAPERS_BOARD: Final = "mimxrt1062"
_SMALL_BOARDS: Final = ("nrf52840", "rp2040")
_QUICK_MINUTES: Final = 20
_TRANSFER: Final = "transfer-"
_LEAST_SEEDS: Final = 3
_LAMBDA: Final = 0.1
_PARTIAL_SHORTFALL: Final = (
    "the M7's dense kernels gain most where many filters meet an error, so that ranking the errors, laying out inputs "
    "and an odd last filter weigh more there; λ_max lower still would lose more than a point"
)


def transfer_losses(runs: pd.DataFrame) -> pd.Series:
    """Return how many points uint8 loses to float32 in recipe best, by transfer task; mean over the seeds."""
    own = runs[runs.suite.str.startswith(_TRANSFER) & (runs.recipe == "best")]
    mean = own.groupby(["suite", "configuration"]).test_accuracy.mean().unstack()
    mean.index = mean.index.str.removeprefix(_TRANSFER)
    return 100 * (mean["float32"] - mean["uint8"])


def _keep_accuracy(runs: pd.DataFrame) -> None:
    losses = transfer_losses(runs)
    own = runs[runs.suite.str.startswith(_TRANSFER)]
    seeds = int(own.groupby(["suite", "recipe", "configuration"]).seed.nunique().min())
    value = ", ".join(f"{task} {-lost:+.2f}" for task, lost in losses.items())
    what = f"transfer learning: accuracy of uint8 less that of float32, points, mean of {seeds} seeds"
    complete = (
        len(losses) == len(FIGURES["accuracy"].suites)
        and bool(losses.notna().all())
        and seeds >= _LEAST_SEEDS
    )
    kept = complete and bool(losses.max() <= _MOST_LOST)
    keep("transfer", Promise(60, what, f"≥ −{_MOST_LOST:g} on every task", value, kept, _COMMAND))


def _flash_arithmetic(parameters: int, flash_kb: float, most_kb: float) -> str:
    """Say what of it a network of this size can't do without: a byte a parameter, and the firmware."""
    weights_kb = parameters / 1024
    firmware_kb = load_firmware(load_models()[_PAPERS_BOARD]).flash_bytes / 1024
    return (
        f"flash: a byte for each parameter is {weights_kb:.0f} KB, the firmware with kernels of all kinds "
        f"{firmware_kb:.0f} KB, together {weights_kb + firmware_kb - most_kb:.0f} KB above the bound, whatever the "
        f"image's format. Of the {flash_kb - weights_kb - firmware_kb:.0f} KB besides, float biases and, of frozen "
        "layers, folded ones take most, tables of tensors and layers the rest"
    )


def _keep_memory(runs: pd.DataFrame) -> None:
    own = runs[(runs.suite == "boards-mobilenet") & (runs.configuration == "uint8")].set_index("board")
    theirs = [
        published("transfer", name).set_index(["task", "configuration"]).value["cifar10", "uint8"]
        for name in ("ram_bytes", "flash_bytes")
    ]
    ram, flash = own.ram_bytes[_PAPERS_BOARD] / 1024, own.flash_bytes[_PAPERS_BOARD] / 1024
    most_ram, most_flash = _MOST_RAM * theirs[0], _MOST_FLASH * theirs[1]
    what = "MobileNetV2, 32×32×3, 10 classes, last five layers trained, uint8, batch 1, mimxrt1062: RAM and flash"
    bound = f"≤ {most_ram:.0f} KB (80 % of the paper's), ≤ {most_flash:.0f} KB (105 %)"
    kept = bool(ram <= most_ram and flash <= most_flash)
    shortfall = _flash_arithmetic(int(own.parameters[_PAPERS_BOARD]), flash, most_flash)
    keep(
        "mobilenet_memory",
        Promise(
            61, what, bound, f"{ram:.0f} KB and {flash:.0f} KB", kept, _COMMAND, "" if kept else shortfall
        ),
    )
    found = [board for board in _SMALL_BOARDS if board in own.index]
    verified = {board: int(own.verified_steps[board]) for board in found}
    value = ", ".join(
        f"{board}: {own.ram_bytes[board] / 1024:.0f} KB, {n} steps equal to the reference"
        for board, n in verified.items()
    )
    what = "the same network trains on the smaller boards"
    kept = len(found) == len(_SMALL_BOARDS) and min(verified.values()) > 0
    keep("mobilenet_boards", Promise(62, what, "nRF52840 and RP2040", value, kept, _COMMAND))


def _keep_partial(partial: pd.DataFrame) -> None:
    table = summarize(partial)
    own = table[(table.rule == "sampled") & (table.lambda_min == _LAMBDA)].set_index("board")
    factors = ", ".join(
        f"{board} {row.speedup:.2f} times ({row.backward_cycles_mean / 1e6:.2f} M cycles)"
        for board, row in own.iterrows()
    )
    lost = 100 * own.accuracy_lost.iloc[0]
    bound = f"backward pass ≥ {_LEAST_SPEEDUP:g} times cheaper, ≤ {_MOST_LOST} points lost"
    what = (
        f"λ_min = {_LAMBDA}, λ_max = {own.lambda_max.iloc[0]:g}, recipe best: the last three layers adapt to mirrored "
        f"images, mean of {partial.seed.nunique()} seeds"
    )
    kept = bool(own.speedup.min() >= _LEAST_SPEEDUP and lost <= _MOST_LOST)
    shortfall = "" if kept else _PARTIAL_SHORTFALL
    keep("partial", Promise(14, what, bound, f"{factors}; {lost:.2f} points lost", kept, _COMMAND, shortfall))


def main() -> None:
    """Reproduce, keep what came of it, then the quick way once, timed; `--quick`: that alone."""
    if "--quick" in sys.argv:
        _keep_quick()
        return
    fqtbench("reproduce", "--out", str(_OUT), "--json")
    for name in _KEPT:
        shutil.rmtree(REFERENCE / name, ignore_errors=True)
        shutil.copytree(_OUT / name, REFERENCE / name)
    shutil.copy(_OUT / "hours.json", REFERENCE)
    keep_promises()
    if "--no-quick" not in sys.argv:
        _keep_quick()


def keep_promises() -> None:
    """Keep the promises of the committed tables."""
    runs = pd.read_csv(REFERENCE / "tables" / "runs.csv", keep_default_na=False, na_values=[""])
    _keep_accuracy(runs)
    _keep_memory(runs)
    _keep_partial(pd.read_csv(REFERENCE / "tables" / "partial.csv"))


def _keep_quick() -> None:
    shutil.rmtree(_QUICK, ignore_errors=True)
    begin = time.monotonic()
    fqtbench("reproduce", "--quick", "--out", str(_QUICK), "--json")
    minutes = (time.monotonic() - begin) / 60
    what = "`fqtbench reproduce --quick`: every figure, fewer samples and seeds, 2 cores"
    keep(
        "reproduce_quick",
        Promise(
            63,
            what,
            f"< {_QUICK_MINUTES} min",
            f"{minutes:.1f} min",
            minutes < _QUICK_MINUTES,
            "fqtbench reproduce --quick",
        ),
    )


if __name__ == "__main__":
    main()
