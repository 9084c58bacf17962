"""Promise: on a virtual board unchanged code passes, and a kernel made slower fails, with phase, layer and function."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fqtbench.board import load_instances, load_models
from fqtbench.experiment.runner import Order
from fqtbench.experiment.spec import load_suite
from fqtbench.regression.baseline import update_baseline
from fqtbench.regression.gate import RERUN, GateOrder, run_gate
from fqtbench.regression.rules import Gate
from fqtbench.regression.side import load_side
from fqtbench.regression.verdict import Verdict
from fqtbench.regression.words import sentence
from tests.builds import copy_firmware
from tests.command import run_command
from tests.experiment import suites
from tests.experiment.standin_run import Printer
from tests.firmware.test_build import PREBUILT, entry, rebuild
from tests.regression.folders import edited, scaled
from tests.tools import require

pytestmark = pytest.mark.timeout(300)

BOARD = "virtual-nrf52840"
DEADLINE_S = 200
KERNEL, WHERE = "engine/kernels/outer.c", "    const uint8_t *const end = x + n;\n"  # of a dense layer's ∂W
SLOWER = WHERE + "    for (volatile uint32_t slow = 0; slow < 100; slow++) {\n    }\n"


def _fqtbench(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return run_command(*arguments, cwd=cwd, deadline_s=DEADLINE_S)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, and its baseline, recorded with today's firmware."""
    folder = tmp_path_factory.mktemp("gate")
    suites.write(folder, suites.tiny())
    done = _fqtbench("run", "suite.yaml", "--out", "recorded", "--no-report", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = _fqtbench("baseline", "update", "baseline", "recorded", "--reason", "the first one", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "baseline: 1 runs; baseline/history.json says why\n"
    return folder


def test_unchanged_code_passes(place: Path) -> None:
    options = ("--out", "new", "--junit", "new.xml", "--json", "new.json", "--markdown", "new.md", "--github")
    done = _fqtbench("gate", "suite.yaml", "--baseline", "baseline", *options, cwd=place)
    assert (done.returncode, done.stdout) == (0, "tiny: 15 as before\n"), done.stderr
    root = ElementTree.parse(place / "new.xml").getroot()
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("16", "0", "0")
    told = json.loads((place / "new.json").read_text())
    assert {finding["verdict"] for finding in told["findings"]} == {"fine"}
    assert (place / "new.md").read_text().startswith("### fqtbench: fine\n")


def test_a_worse_figure_fails_with_one_line_and_an_annotation(place: Path, tmp_path: Path) -> None:
    edited(place / "recorded", tmp_path / "slower", scaled(1.05, "update_s"))
    done = _fqtbench("compare", str(place / "baseline"), str(tmp_path / "slower"), "--github", cwd=tmp_path)
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert error.startswith(
        "fqtbench: tiny: 1 worse, 14 as before; mend it, or accept it by `fqtbench baseline"
    )
    assert "::error title=fqtbench%3A regression::tiny on nrf52840: Update: " in done.stdout


@pytest.fixture(scope="module")
def slower_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like firmware/prebuilt, for the nrf52840 alone, with one kernel that wastes time."""
    require("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    folder = tmp_path_factory.mktemp("slower")
    sources = copy_firmware(folder / "firmware")
    kernel = (sources / KERNEL).read_text()
    assert kernel.count(WHERE) == 1, "the kernel that this test makes slower has changed"
    (sources / KERNEL).write_text(kernel.replace(WHERE, SLOWER))
    elf = rebuild(sources, folder, "nrf52840")
    if entry(elf)["toolchain"] != entry(PREBUILT / elf.name)["toolchain"]:
        pytest.skip("the prebuilt firmware comes from another compiler, so it can't be compared with")
    return elf.parent


def test_a_slower_kernel_is_found_confirmed_and_named(
    place: Path, slower_firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fqtbench.bench.firmware.share", lambda _: slower_firmware)
    models = load_models()
    suite = load_suite(place / "suite.yaml")
    order = Order(suite, [load_instances(models)[BOARD]], models, tmp_path / "out")
    told: list[str] = []
    comparison = run_gate(GateOrder(order, place / "baseline", Gate(), profile=True), Printer(), told.append)
    assert (comparison.exit_code, comparison.unusable) == (1, ())
    assert told == [f"profiling the first run on {BOARD}"]
    found = {finding.metric: finding for finding in comparison.having(Verdict.REGRESSION)}
    assert {"backward_s", "step_s", "flash_bytes"} <= found.keys()
    assert not {"forward_s", "test_accuracy"} & found.keys()
    backward = found["backward_s"]
    assert (backward.phase, backward.confirmed, backward.origin) == ("backward", True, "modelled")
    text = sentence(backward)
    assert "layer 2:fully_connected ∂W: +" in text
    assert "function fqt_outer_of: +" in text
    assert text.startswith("tiny on nrf52840: Backward: ")
    assert "most of it in the backward pass" in sentence(found["step_s"])
    assert len(load_side(tmp_path / "out" / RERUN).runs) == 1
    assert (tmp_path / "out" / "profiles" / "nrf52840" / "profile.json").is_file()

    replacement = update_baseline(tmp_path / "baseline", tmp_path / "out", "slower, for this test")
    assert replacement.accepted == (), "there was none to compare with"
    assert (tmp_path / "baseline" / "profiles" / "nrf52840" / "profile.json").is_file()
