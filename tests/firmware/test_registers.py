"""Promise: the committed register header is what svd2h.py makes of the vendor's SVD file."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHIPS = ROOT / "firmware" / "chips"

pytestmark = pytest.mark.timeout(120)


def test_generating_again_gives_the_committed_header() -> None:
    """No register was edited by hand."""
    done = subprocess.run(
        [sys.executable, str(CHIPS / "svd2h.py"), "nrf52840"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout == (CHIPS / "nrf52840" / "registers.h").read_text(encoding="utf-8")


def test_a_chip_without_a_list_is_refused() -> None:
    """An unknown chip ends with a message, not with an empty header."""
    done = subprocess.run(
        [sys.executable, str(CHIPS / "svd2h.py"), "z80"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert "usage: svd2h.py {nrf52840}" in done.stderr


def test_board_header_and_board_model_agree() -> None:
    """Pins, clock and baud rate of board.h are those of boards/nrf52840.toml."""
    header = (CHIPS / "nrf52840" / "board.h").read_text(encoding="utf-8")
    defined = {name: int(value) for name, value in re.findall(r"#define BOARD_(\w+) (\d+)u", header)}
    model = tomllib.loads((ROOT / "boards" / "nrf52840.toml").read_text(encoding="utf-8"))
    uart = model["uart"]
    assert defined == {
        "CLOCK_HZ": model["clock_hz"],
        "BAUD": uart["baud"],
        "TX_PIN": uart["tx_pin"],
        "RX_PIN": uart["rx_pin"],
        "RTS_PIN": uart["rts_pin"],
        "TRIGGER_PIN": model["trigger"]["pin"],
    }
