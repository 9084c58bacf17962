"""Promise: the engine takes at most 40 KB of flash with everything in, and at most 2 KB of stack."""

from pathlib import Path

import pytest

from tests.firmware.elf_analysis import deepest, engine_functions, functions, read_only_bytes

pytest.importorskip("capstone")

_FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
_ELVES = sorted((_FIRMWARE / "prebuilt").glob("*.elf"))
_FLASH_BYTES = 40 * 1024
_STACK_BYTES = 2 * 1024
_ROOTS = ("fqt_load", "fqt_forward", "fqt_backward", "fqt_update", "fqt_checksum", "fqt_tensor_bytes")


@pytest.mark.parametrize("elf", _ELVES, ids=lambda elf: elf.stem)
def test_the_engine_fits_its_flash(elf: Path) -> None:
    """Its functions, and all constants of the firmware with them."""
    names = engine_functions(_FIRMWARE / "engine")
    own = [f for f in functions(elf).values() if f.name.partition(".")[0] in names]
    assert {f.name for f in own} >= set(_ROOTS)
    size = sum(f.size for f in own) + read_only_bytes(elf)
    assert size <= _FLASH_BYTES, f"{size} bytes"


@pytest.mark.parametrize("root", _ROOTS)
@pytest.mark.parametrize("elf", _ELVES, ids=lambda elf: elf.stem)
def test_no_call_of_the_engine_takes_more_than_its_stack(elf: Path, root: str) -> None:
    size, path = deepest(elf, root)
    assert 0 < size <= _STACK_BYTES, path
