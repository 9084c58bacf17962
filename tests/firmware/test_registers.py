"""Promise: each chip's register header is what svd2h.py makes of the vendor's SVD file, and no other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fqtbench.board import BoardModel
from tests.boards import VIRTUAL

CHIPS = Path(__file__).resolve().parents[2] / "firmware" / "chips"
LISTS = sorted(CHIPS.glob("*/registers.toml"))

pytestmark = pytest.mark.timeout(120)


def svd2h(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHIPS / "svd2h.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.name)
def test_the_header_is_that_of_the_svd_file(path: Path) -> None:
    """No register was edited by hand; where pyOCD has no SVD file, at least each name in the list is in the header."""
    header = (path.parent / "registers.h").read_text(encoding="utf-8")
    listed = tomllib.loads(path.read_text("utf-8"))
    if "pyocd" in listed["svd"]:
        assert svd2h(path.parent.name).stdout == header
        return
    assert listed["svd"]["origin"] in header
    names = set(re.findall(r"#define (\w+) ", header))
    for peripheral, registers in listed["registers"].items():
        for register in [*registers, *listed["fields"].get(peripheral, [])]:
            wanted = f"{peripheral}_{register}".replace(".", "_").upper()
            assert wanted in names


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.name)
def test_a_file_that_is_not_the_vendors_is_refused(path: Path, tmp_path: Path) -> None:
    if "pyocd" in tomllib.loads(path.read_text("utf-8"))["svd"]:
        assert svd2h(path.parent.name).returncode == 0
        return
    other = tmp_path / "other.svd"
    other.write_text("<device/>")
    assert "its SHA-256 is another" in svd2h(path.parent.name, str(other)).stderr
    assert "give the path of" in svd2h(path.parent.name).stderr


def test_a_chip_without_a_list_is_refused() -> None:
    """An unknown chip ends with a message, not with an empty header."""
    done = svd2h("z80")
    assert done.returncode != 0
    assert f"usage: svd2h.py {{{','.join(path.parent.name for path in LISTS)}}}" in done.stderr


@pytest.mark.parametrize("model", VIRTUAL, ids=lambda model: model.name)
def test_board_header_and_board_model_agree(model: BoardModel) -> None:
    """Pins, clock and baud rate of board.h are those of the board's TOML file."""
    header = (CHIPS / model.firmware / "board.h").read_text(encoding="utf-8")
    defined = {name: int(value) for name, value in re.findall(r"#define BOARD_(\w+) (\d+)u", header)}
    assert model.uart is not None and model.trigger is not None
    assert defined == {
        "CLOCK_HZ": model.clock_hz,
        "BAUD": model.uart.baud,
        "TX_PIN": model.uart.tx_pin,
        "RX_PIN": model.uart.rx_pin,
        "RTS_PIN": model.uart.rts_pin,
        "TRIGGER_PIN": model.trigger.pin,
    }
