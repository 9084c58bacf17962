"""Promise: the engine takes at most 47 KB of flash with everything in, and at most 2 KB of stack.

docs/design.md says what the kernels of a core cost of it.
"""

from pathlib import Path

import pytest

from tests.firmware.elf_analysis import bytes_of_sources, deepest

pytest.importorskip("capstone")

_FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
_ELVES = [
    _FIRMWARE / "prebuilt" / f"{path.parent.name}.elf" for path in sorted(_FIRMWARE.glob("chips/*/chip.mk"))
]
_FLASH_BYTES = 47 * 1024
_SOURCES = {path.name for path in (_FIRMWARE / "engine").rglob("*.c")}
_STACK_BYTES = 2 * 1024
_ROOTS = ("fqt_load", "fqt_forward", "fqt_backward", "fqt_update", "fqt_checksum", "fqt_tensor_bytes")


@pytest.mark.parametrize("elf", _ELVES, ids=lambda elf: elf.stem)
def test_the_engine_fits_its_flash(elf: Path) -> None:
    sizes = bytes_of_sources(elf, _SOURCES, "fqt_")
    assert sizes.keys() >= set(_ROOTS)
    assert {"check.c", "head.c", "step_integer.c"} <= {name.partition(":")[0] for name in sizes}
    assert sum(sizes.values()) <= _FLASH_BYTES


@pytest.mark.parametrize("root", _ROOTS)
@pytest.mark.parametrize("elf", _ELVES, ids=lambda elf: elf.stem)
def test_no_call_of_the_engine_takes_more_than_its_stack(elf: Path, root: str) -> None:
    size, path = deepest(elf, root)
    assert 0 < size <= _STACK_BYTES, path
