"""Whole training steps on the virtual boards: ``python -m benchmarks.whole_step`` (some minutes on two cores).

Two CNNs of half a million multiply-accumulates (MACs), in uint8 and in float32, and a MobileNetV2, on three boards.
Cycles are those that each run records (origin: modelled), and the first steps of each leave the reference's weights.
The mean is over whole mini-batches.
"""

import math
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.promise import ROOT, Promise, keep
from benchmarks.suite_runs import run_suite
from fqtbench.datasets.idx import write_idx
from fqtbench.experiment.results import RunResult, load_results
from fqtbench.pretrain.networks import CNN_POOLED, CNN_STRIDED, MOBILENET_TRAINED, mobilenet_v2_32, train_last

_COMMAND: Final = "python -m benchmarks.whole_step"
_FOLDER: Final = ROOT / "results" / "whole-step"
_RATE: Final = 0.005
_VERIFIED: Final = 2
_MOBILENET_SAMPLES: Final = 16  # two with their ranges tracked
_CNN_BATCH: Final = 16
_SAMPLES: Final = {"uint8": 4 * _CNN_BATCH, "float32": _CNN_BATCH}  # float32 takes the M0+ long
_PHASES: Final = ("forward_cycles", "backward_cycles", "update_cycles")

_MOST_OVER_FORWARD: Final = {"strided": 2.2, "pooled": 1.2}
# Deutel et al., arXiv 2407.10734: ms a step from scratch on 28x28 times the clock; its network taken as 0.5 M MACs.
_PAPER_MACS: Final = 500_000
_PAPER_CYCLES: Final = {"nrf52840": 57e6, "rp2040": 109e6, "mimxrt1062": 21e6}
_LEAST_BELOW_PAPER: Final = {"nrf52840": 15.0, "rp2040": 12.0, "mimxrt1062": 10.0}
_LEAST_BELOW_FLOAT: Final = {"nrf52840": 1.7, "rp2040": 40.0, "mimxrt1062": 1.7}
_SMALLEST: Final = "rp2040"
_FIRST_LAYER_MACS: Final = 14 * 14 * 3 * 3 * 20  # of the strided CNN, whose ∂X nobody needs
_MOBILENET_MOST_MS: Final = 45.0
_MOBILENET_PAPER_MS: Final = 193


class _Case(NamedTuple):
    """A run: network `name` on a virtual board."""

    name: str
    board: str
    configuration: str = "uint8"


_CNNS: Final = {"strided": CNN_STRIDED, "pooled": CNN_POOLED}
_MOBILENET: Final = _Case("mobilenet-v2-32", "mimxrt1062")
_MOBILENETS: Final = tuple(_MOBILENET._replace(board=board) for board in _PAPER_CYCLES)
_CASES: Final = (
    *(_Case(name, "rp2040", "float32") for name in _CNNS),  # the longest first
    *_MOBILENETS,
    *(_Case(name, board) for name in _CNNS for board in _PAPER_CYCLES),
    *(_Case(name, board, "float32") for name in _CNNS for board in ("nrf52840", "mimxrt1062")),
)


def _write_colours(folder: Path) -> None:
    """Write 30 noisy images of 32x32x3, ten patterns of 8x8 squares: something to learn, and nobody's data."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 256, (10, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    folder.mkdir()
    for part, n in (("train", 20), ("t10k", 10)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = patterns[labels] + rng.normal(0, 40, (n, 32, 32, 3))
        write_idx(folder / f"{part}-images-idx4-ubyte.gz", images.clip(0, 255).astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


def _suite(case: _Case) -> dict[str, Any]:
    if case in _MOBILENETS:
        return {
            "dataset": {"name": "idx", "path": "colours", "train": _MOBILENET_SAMPLES},
            "network": train_last(mobilenet_v2_32(), MOBILENET_TRAINED),
            "training": {"batch": 1, "learning_rate": _RATE, "calibration_samples": 8},
        }
    return {
        "dataset": {"name": "fashion-mnist-12k", "train": _SAMPLES[case.configuration], "test": 10},
        "network": _CNNS[case.name],
        "training": {
            "batch": _CNN_BATCH,
            "learning_rate": _RATE,
            "configuration": case.configuration,
        },
    }


def _row(case: _Case, run: RunResult) -> dict[str, Any]:
    phases = {phase: float(run.steps[phase].mean()) for phase in _PHASES}
    macs = int(run.description["image"]["macs_forward"])
    cycles = sum(phases.values())
    return {
        "network": case.name,
        "board": case.board,
        "configuration": case.configuration,
        "batch": 1 if case in _MOBILENETS else _CNN_BATCH,
        "steps": len(run.steps),
        "macs_forward": macs,
        "parameters": int(run.description["image"]["parameters"]),
        "arena_bytes": int(run.metrics["arena_bytes"].value),
        **{phase: round(value) for phase, value in phases.items()},
        "step_cycles": round(cycles),
        "step_ms": round(1000 * cycles / run.clock_hz, 3),
        "cycles_per_mac": round(cycles / macs, 3),
        "backward_and_update_over_forward": round(cycles / phases["forward_cycles"] - 1, 3),
    }


def _measure(folder: Path, case: _Case) -> dict[str, Any]:
    name = "-".join(case)
    results = run_suite(folder, name, board=f"virtual-{case.board}", **_suite(case), seed=1, verify=_VERIFIED)
    (run,) = load_results(results).runs
    row = _row(case, run)
    print(f"{name}: {row['step_ms']} ms, {row['cycles_per_mac']} cycles a MAC", file=sys.stderr, flush=True)
    return row


def _by_board(table: pd.DataFrame, configuration: str) -> Mapping[tuple[str, str], "pd.Series[Any]"]:
    own = table[table.configuration == configuration]
    return {(str(row.network), str(row.board)): row for _, row in own.iterrows()}


def _listed(values: Mapping[str, float], unit: str = "") -> str:
    return ", ".join(f"{board} {value:.2f}{unit}" for board, value in values.items())


def _floored(value: float) -> float:
    """Two decimals, never more than was reached."""
    return math.floor(100 * value) / 100


def _keep_promises(table: pd.DataFrame) -> None:
    uint8, float32 = _by_board(table, "uint8"), _by_board(table, "float32")
    for order, (name, most) in enumerate(_MOST_OVER_FORWARD.items(), 20):
        ratios = {
            board: float(uint8[name, board]["backward_and_update_over_forward"]) for board in _PAPER_CYCLES
        }
        what = f"28×28 CNN, {name}, uint8, batch {_CNN_BATCH}: backward + update, of forward"
        bound = f"≤ {most} times"
        within = max(ratios.values()) <= most
        keep(f"whole_step_{name}", Promise(order, what, bound, _listed(ratios), within, _COMMAND))
    fewer = {
        board: _floored(
            min(cycles / _PAPER_MACS / float(uint8[name, board]["cycles_per_mac"]) for name in _CNNS)
        )
        for board, cycles in _PAPER_CYCLES.items()
    }
    _keep_least(
        "whole_step_paper", 22, "fewer cycles per forward MAC than the paper's", fewer, _LEAST_BELOW_PAPER
    )
    faster = {
        board: _floored(
            min(
                float(float32[name, board]["cycles_per_mac"]) / float(uint8[name, board]["cycles_per_mac"])
                for name in _CNNS
            )
        )
        for board in _PAPER_CYCLES
    }
    _keep_least(
        "whole_step_float",
        23,
        "fewer cycles per forward MAC than in float32",
        faster,
        _LEAST_BELOW_FLOAT,
        _float_arithmetic(uint8["strided", _SMALLEST], float32["strided", _SMALLEST]),
    )
    ms = float(uint8[_MOBILENET.name, _MOBILENET.board]["step_ms"])
    what = f"MobileNetV2, 32×32×3, last five layers trained, batch 1, {_MOBILENET.board}: whole step"
    bound = f"≤ {_MOBILENET_MOST_MS:.0f} ms (paper: {_MOBILENET_PAPER_MS} ms)"
    within = ms <= _MOBILENET_MOST_MS
    keep("whole_step_mobilenet", Promise(24, what, bound, f"{ms:.1f} ms", within, _COMMAND))


def _float_arithmetic(uint8: "pd.Series[Any]", float32: "pd.Series[Any]") -> str:
    """Say what uint8 would have to cost, were it so many times as fast as float32 on the core without an FPU."""
    wanted = float(float32.step_cycles) / _LEAST_BELOW_FLOAT[_SMALLEST]
    forward, rest = float(uint8.forward_cycles), float(uint8.backward_cycles) + float(uint8.update_cycles)
    products = 2 * float(uint8.macs_forward) - _FIRST_LAYER_MACS
    return (
        f"on the {_SMALLEST}, where every float operation is a call, but float32 skips errors of zero: a fortieth of "
        f"its step of the strided CNN is {wanted / 1e6:.2f} M cycles, of which uint8's forward pass, each kernel in "
        f"its bound, takes {forward / 1e6:.2f} M. What is left is {(wanted - forward) / products:.1f} cycles for each "
        f"product of ∂X and ∂W, zeros included; the rest takes {rest / products:.1f}. Dense 3×3 kernels by themselves "
        "keep the factor (docs/kernels.md)"
    )


def _keep_least(
    name: str,
    order: int,
    what: str,
    reached: Mapping[str, float],
    least: Mapping[str, float],
    shortfall: str = "",
) -> None:
    """Keep a promise of a factor a board, that of the CNN that does worse; `shortfall` says why it isn't kept."""
    bound = "≥ " + ", ".join(f"{board} {value:g}" for board, value in least.items()) + " times"
    within = all(reached[board] >= value for board, value in least.items())
    what = f"28×28 CNN, uint8, whole step: {what}"
    keep(name, Promise(order, what, bound, _listed(reached), within, _COMMAND, "" if within else shortfall))


def main() -> None:
    """Run every case, two at a time; keep table and promises. `--table`: the promises of the committed table alone."""
    if "--table" in sys.argv:
        _keep_promises(pd.read_csv(_FOLDER / "summary.csv"))
        return
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        folder = Path(temporary)
        _write_colours(folder / "colours")
        rows = list(pool.map(lambda case: _measure(folder, case), _CASES))
    table = pd.DataFrame(rows).sort_values(
        ["network", "configuration", "board"], ascending=[True, False, True]
    )
    _FOLDER.mkdir(parents=True, exist_ok=True)
    table.to_csv(_FOLDER / "summary.csv", index=False)
    _keep_promises(table)


if __name__ == "__main__":
    main()
