"""Promise: a board on an instrument gives energies through the whole stack, or says why not; no other figure changes.

Real but for the chip and the instrument: worker processes, drivers, the wire, store and report. The virtual board's
emulated instruments are opened by the drivers that open real ones.
"""

import io
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fqtbench.bench.firmware import load_firmware
from fqtbench.bench.job import Charge, ExamineJob
from fqtbench.bench.recovery import Rung
from fqtbench.bench.wired import WiredAccess
from fqtbench.board import BoardInstance, load_models
from fqtbench.console import Progress
from fqtbench.errors import BoardError, UsageError
from fqtbench.experiment.plan import Run
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite
from fqtbench.report import write_report
from tests.boards import END_DEADLINE_S
from tests.command import run_command
from tests.experiment import suites

MODEL: Final = "nrf52840"
N_STEPS, N_EVALUATIONS, BATCH = 16, 8, 4
TINY: Final[dict[str, Any]] = {
    "boards": None,
    "dataset": suites.TINY["dataset"] | {"train": N_STEPS, "test": N_EVALUATIONS},
    "training": suites.TINY["training"] | {"epochs": 1, "batch": BATCH},
    "verify": 8,
}
WINDOW_S: Final = 0.01
PROCEDURE: Final = {"procedure": "mlperf-tiny", "window_s": WINDOW_S}
PHASES: Final = ("forward", "backward", "update")
CYCLES: Final = [f"{phase}_cycles" for phase in PHASES]
DEADLINE_S: Final = 120


def board(*options: str) -> BoardInstance:
    """Return a virtual board that is launched with options of its command."""
    return BoardInstance(
        name="desk", model=MODEL, launch=(sys.executable, "-m", "fqtbench.virtual", MODEL, *options)
    )


class Witness(Progress):
    """What the command line shows, unseen; it counts the events."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()), quiet=False)
        self.counts: Counter[str] = Counter()

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        super().event(run, board, event)
        self.counts[event["event"]] += 1


def run(folder: Path, on: BoardInstance, witness: Witness, **changes: Any) -> Path:
    """Run the suite, with top-level keys changed; returns its results folder."""
    folder.mkdir(exist_ok=True)
    suite = load_suite(suites.write(folder, suites.tiny(**TINY | changes)))
    with witness:
        run_suite(Order(suite, [on], load_models(), folder / "out", resume=False), witness)
    return folder / "out"


@dataclass(frozen=True)
class Done:
    """A results folder with one run."""

    out: Path

    def file(self, name: str) -> Path:
        (found,) = self.out.glob(f"runs/*/attempt-1/{name}")
        return found

    @property
    def result(self) -> dict[str, Any]:
        return dict(json.loads(self.file("result.json").read_text("utf-8")))

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.file(f"{name}.parquet"))

    @property
    def mean_j(self) -> float:
        """Mean energy of a step."""
        return float(self.result["metrics"]["step_j"]["value"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metered")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Done:
    """The suite on a board without an instrument."""
    return Done(run(folder / "plain", board(), Witness()))


@pytest.fixture(scope="module")
def flash(folder: Path) -> Path:
    """Where the board of `ppk2` keeps its flash; behind that run it has firmware and a network."""
    return folder / "flash.bin"


@pytest.fixture(scope="module")
def ppk2(folder: Path, flash: Path) -> Done:
    """The suite, and MLPerf Tiny's procedure, on a board with a PPK2."""
    on = board("--power", "ppk2", "--flash", str(flash))
    return Done(run(folder / "ppk2", on, Witness(), energy=PROCEDURE))


@pytest.fixture(scope="module")
def otii(folder: Path) -> Done:
    return Done(run(folder / "otii", board("--power", "otii"), Witness()))


@pytest.mark.parametrize("name", ["ppk2", "otii"])
def test_an_instrument_changes_no_cycle_no_weight_and_no_accuracy(
    name: str, plain: Done, request: pytest.FixtureRequest
) -> None:
    metered: Done = request.getfixturevalue(name)
    assert metered.table("steps")[CYCLES].equals(plain.table("steps")[CYCLES])
    same = ["forward_cycles", "predicted"]
    assert metered.table("evaluations")[same].equals(plain.table("evaluations")[same])
    assert list(metered.table("epochs").checksum) == list(plain.table("epochs").checksum)
    assert metered.result["metrics"]["test_accuracy"] == plain.result["metrics"]["test_accuracy"]
    with np.load(metered.file("weights.npz")) as ours, np.load(plain.file("weights.npz")) as theirs:
        assert sorted(ours) == sorted(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.mark.parametrize("name", ["ppk2", "otii"])
def test_every_window_is_accounted_for_and_no_sample_is_lost(
    name: str, request: pytest.FixtureRequest
) -> None:
    done: Done = request.getfixturevalue(name)
    energy = done.result["energy"]
    inferences = sum(w["inferences"] for w in energy.get("procedure", {"windows": []})["windows"])
    asked = 2 * N_STEPS + N_STEPS // BATCH + N_EVALUATIONS + inferences
    assert energy["account"]["n_windows"] == asked
    assert energy["account"]["n_lost"] == energy["account"]["trigger"] == 0
    assert len(done.table("steps")) == N_STEPS
    assert len(done.table("evaluations")) == N_EVALUATIONS
    steps = done.table("steps")
    updated = np.arange(1, N_STEPS + 1) % BATCH == 0
    for phase in PHASES:
        there = np.isfinite(steps[f"energy_{phase}_j"])
        np.testing.assert_array_equal(there, updated if phase == "update" else True)
        assert (steps.loc[there, f"energy_{phase}_j"] > 0).all()
        assert (steps.loc[there, f"energy_{phase}_uncertainty_j"] >= 0).all()
    assert (done.table("evaluations").energy_forward_j > 0).all()
    for metric in ("step_j", "inference_j", "training_j"):
        assert done.result["metrics"][metric]["origin"] == "modelled"


def test_two_instruments_agree_on_a_board(ppk2: Done, otii: Done) -> None:
    assert otii.mean_j == pytest.approx(ppk2.mean_j, rel=0.01)


def test_the_report_draws_the_power_with_its_origin(ppk2: Done) -> None:
    page = write_report(ppk2.out).read_text("utf-8")
    for name in ("power_trace", "energy_phases", "power_histogram"):
        assert name in page
        table = pd.read_csv(ppk2.out / "figures" / f"{name}.csv")
        assert set(table.origin) == {"modelled"}
        assert set(PHASES) <= set(table.phase)


def test_mlperf_tinys_procedure_is_a_key_of_the_suite(ppk2: Done) -> None:
    procedure = ppk2.result["energy"]["procedure"]
    assert len(procedure["windows"]) == 5
    assert all(window["seconds"] >= WINDOW_S for window in procedure["windows"])
    figures = sorted(window["inference_j"] for window in procedure["windows"])
    assert ppk2.result["metrics"]["mlperf_inference_j"]["value"] == figures[2]
    assert not procedure["conforming"]


def test_lost_samples_in_a_window_fail_the_run(folder: Path) -> None:
    witness = Witness()
    on = board("--power", "ppk2", "--power-faults", "lose=3e-3")
    with pytest.raises(BoardError, match=r"PPK2 .*: window \d+ of \d+ has samples flagged LOST.*given up"):
        run(folder / "lossy", on, witness)
    assert witness.counts["retry"] >= 1
    assert not list((folder / "lossy").rglob("result.json"))


def test_an_instrument_that_cannot_see_the_trigger_is_refused_at_once(folder: Path) -> None:
    witness = Witness()
    with pytest.raises(UsageError, match=r"LPM01A .* has no digital inputs.*PPK2"):
        run(folder / "shield", board("--power", "lpm01a"), witness)
    assert witness.counts["retry"] == 0


def bench_of(folder: Path, *options: str) -> None:
    """Write the bench file of a board."""
    launch = json.dumps(list(board(*options).launch or ()))
    (folder / "bench.toml").write_text(
        f'[[board]]\nname = "desk"\nmodel = "{MODEL}"\nlaunch = {launch}\n', "utf-8"
    )


def test_a_look_at_the_board_tries_the_trigger_and_its_trace_has_the_windows(
    ppk2: Done, flash: Path, tmp_path: Path
) -> None:
    assert ppk2.out.is_dir()
    assert flash.is_file()
    bench_of(tmp_path, "--power", "ppk2", "--flash", str(flash))
    looked = run_command(
        *("power", "desk", "--seconds", "0.3", "--save", "t.parquet"), cwd=tmp_path, deadline_s=DEADLINE_S
    )
    assert looked.returncode == 0, looked.stderr
    assert "trigger is wired: 8 windows for 8 evaluations" in looked.stdout
    read = run_command("energy", "t.parquet", "--json", cwd=tmp_path, deadline_s=DEADLINE_S)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert [window["flags"] for window in found["windows"]] == [[]] * 8
    inference_j = ppk2.result["metrics"]["inference_j"]["value"]
    assert found["phases"]["window"]["all"]["mean_j"] == pytest.approx(inference_j, rel=0.02)


def test_a_trigger_that_cannot_be_tried_is_an_error_that_says_how_to_look_anyway(tmp_path: Path) -> None:
    bench_of(tmp_path, "--power", "lpm01a")
    looked = run_command("power", "desk", "--seconds", "0.3", cwd=tmp_path, deadline_s=DEADLINE_S)
    assert looked.returncode == 3
    assert "not tried: LPM01A" in looked.stderr
    assert "--no-wiring" in looked.stderr


def examined(on: BoardInstance, *rungs: Rung) -> dict[str, str | None]:
    """Take `rungs`, then examine the board as `fqtbench doctor` does; returns what is wrong with each part."""
    model = load_models()[MODEL]
    events: list[dict[str, Any]] = []
    firmware = load_firmware(model)
    access = WiredAccess(Charge(instance=on, model=model), events.append)
    try:
        access.attach()
        for rung in rungs:
            access.restore(rung)
        access.examine(ExamineJob(elf=firmware.path.resolve(), build_id=firmware.build_id))
    finally:
        access.end(patience_s=END_DEADLINE_S)
    return {event["part"]: event.get("message") for event in events if event["event"] == "tried"}


def test_a_board_comes_back_from_a_power_cycle_by_its_instrument(ppk2: Done, flash: Path) -> None:
    assert ppk2.out.is_dir()
    found = examined(board("--power", "ppk2", "--flash", str(flash)), Rung.POWER_CYCLE)
    assert found == dict.fromkeys(("monitor", "probe", "port", "line"))


def test_the_doctor_says_that_an_instrument_cannot_see_the_trigger() -> None:
    assert "has no digital inputs" in str(examined(board("--power", "lpm01a"))["monitor"])
