"""Promises of the firmware's build: bit for bit the same anywhere, and nothing in it that the design forbids."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from fqtbench.wire.frames import PROTOCOL_VERSION
from tests.tools import require

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
PREBUILT = FIRMWARE / "prebuilt"
FLASH_LIMIT_BYTES = 0x40000  # the model image begins there: boards/nrf52840.toml
RAM_ORIGIN, RAM_BYTES = 0x20000000, 0x40000

pytestmark = pytest.mark.timeout(240)


def rebuild(firmware: Path, out: Path) -> Path:
    """Build the firmware of that folder from nothing; return the ELF."""
    arguments = [f"BUILD={out / 'build'}", f"OUT={out / 'elf'}", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        [require("make", "make"), "-C", str(firmware), "CHIP=nrf52840", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out / "elf" / "nrf52840.elf"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ELF of the sources as they are, built in another folder."""
    require("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    return rebuild(FIRMWARE, tmp_path_factory.mktemp("built"))


def entry(folder: Path) -> dict[str, object]:
    """The chip's entry in the manifest."""
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["chips"][
        "nrf52840"
    ]
    return found


def same_compiler(built: Path) -> bool:
    """Whether the prebuilt ELF comes from the compiler at hand; another one may well generate other code."""
    return entry(PREBUILT)["toolchain"] == entry(built.parent)["toolchain"]


def test_the_prebuilt_firmware_is_that_of_the_sources(built: Path) -> None:
    """Rebuilding gives the committed ELF and manifest, bit for bit."""
    if not same_compiler(built):
        pytest.skip(f"prebuilt with {entry(PREBUILT)['toolchain']}, which is not installed")
    assert built.read_bytes() == (PREBUILT / "nrf52840.elf").read_bytes()
    assert entry(built.parent) == entry(PREBUILT)


def test_the_folder_does_not_matter(built: Path, tmp_path: Path) -> None:
    """A copy of the sources elsewhere gives the same ELF, and no path of either is in it."""
    copy = tmp_path / "somewhere else" / "firmware"
    shutil.copytree(FIRMWARE, copy, ignore=shutil.ignore_patterns("build", "prebuilt", "__pycache__"))
    again = rebuild(copy, tmp_path / "out")
    assert again.read_bytes() == built.read_bytes()
    for path in (FIRMWARE, built.parent, Path.home()):
        assert str(path).encode() not in built.read_bytes()


def test_the_manifest_describes_the_elf() -> None:
    """Hash, build id and sizes in the manifest are those of the committed ELF."""
    elf = PREBUILT / "nrf52840.elf"
    listed = entry(PREBUILT)
    with elf.open("rb") as file:
        image = ELFFile(file)
        assert listed["build_id"] == image.get_section_by_name(".build_id").data().hex()
        sizes = {s.name: s["sh_size"] for s in image.iter_sections() if s["sh_flags"] & 2}
    assert listed["sha256"] == hashlib.sha256(elf.read_bytes()).hexdigest()
    assert listed["section_bytes"] == sizes
    assert listed["stack_bytes"] == sizes[".stack"]
    assert listed["protocol"] == PROTOCOL_VERSION


def test_it_needs_no_doubles_heap_or_libm(built: Path) -> None:
    """No double arithmetic, no allocator, no mathematical function: the engine's own float operations only."""
    with built.open("rb") as file:
        names = {symbol.name for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()}
    forbidden = re.compile(
        r"__aeabi_d\w+|__aeabi_\w+2d|__aeabi_f2[iu]lz|_?malloc.*|_?free.*|_?calloc.*|_?realloc.*|_?sbrk.*|"
        r"(__ieee754_)?(exp|log|pow|sqrt|sin|cos|tanh|fma|round|floor|ceil|rint|lrint)f?|printf.*|abort|exit"
    )
    assert sorted(name for name in names if forbidden.fullmatch(name)) == []
    assert {"fqt_forward", "fqt_backward", "fqt_update", "link_poll", "main"} <= names


def test_memory_is_where_the_board_model_says(built: Path) -> None:
    """Flash below the model image, vectors at 0, the stack at the bottom of RAM, the rest of RAM is the arena."""
    with built.open("rb") as file:
        elf = ELFFile(file)
        loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        vectors = elf.get_section_by_name(".vectors")
        entry_point, stack_top = elf["e_entry"], int.from_bytes(vectors.data()[:4], "little")
        reset = int.from_bytes(vectors.data()[4:8], "little")
    assert max(s["p_paddr"] + s["p_filesz"] for s in loaded) < FLASH_LIMIT_BYTES
    assert vectors["sh_addr"] == 0
    assert stack_top == symbols["__stack_end"]
    assert reset == entry_point
    assert symbols["__stack_start"] == RAM_ORIGIN
    assert symbols["__stack_end"] - symbols["__stack_start"] == 8192
    assert symbols["__arena_end"] == RAM_ORIGIN + RAM_BYTES
    assert symbols["__arena_end"] - symbols["__arena_start"] > RAM_BYTES - 8192 - 8192
    assert symbols["__image_start"] == FLASH_LIMIT_BYTES
