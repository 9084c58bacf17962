"""Promises of the firmware's build: bit for bit the same anywhere, and nothing in it that the design forbids."""

import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from elftools.elf.elffile import ELFFile

from fqtbench.board import BoardModel
from fqtbench.wire.frames import PROTOCOL_VERSION
from tests.boards import VIRTUAL
from tests.builds import copy_firmware
from tests.kernels.compiled import built_for
from tests.tools import require

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
PREBUILT = FIRMWARE / "prebuilt"
STACK_BYTES = 4096
VARIABLES_BYTES = 8192

pytestmark = pytest.mark.timeout(240)


def rebuild(firmware: Path, out: Path, chip: str) -> Path:
    """Build the firmware of that folder for one chip from nothing; return the ELF."""
    _make(firmware, out, f"CHIP={chip}")
    return out / "elf" / f"{chip}.elf"


def _make(firmware: Path, out: Path, *arguments: str) -> None:
    where = [f"BUILD={out / 'build'}", f"OUT={out / 'elf'}", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        [require("make", "make"), "-C", str(firmware), *arguments, *where],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Built(NamedTuple):
    """A board and the ELF of a copy of the sources as they are, in `folder`."""

    model: BoardModel
    folder: Path
    elf: Path

    @property
    def prebuilt(self) -> Path:
        return PREBUILT / self.elf.name


@pytest.fixture(scope="module", params=VIRTUAL, ids=lambda model: model.name)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    require("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    chip = request.param.firmware
    folder = tmp_path_factory.mktemp(chip)
    copy = copy_firmware(folder / "somewhere else" / "firmware")
    return Built(request.param, folder, rebuild(copy, folder, chip))


def entry(elf: Path) -> dict[str, object]:
    """The ELF's entry in the manifest beside it."""
    chips = json.loads((elf.parent / "manifest.json").read_text(encoding="utf-8"))["chips"]
    found: dict[str, object] = chips[elf.stem]
    return found


def same_compiler(built: Built) -> bool:
    """Whether the prebuilt ELF comes from the compiler at hand; another one may well generate other code."""
    return entry(built.prebuilt)["toolchain"] == entry(built.elf)["toolchain"]


def test_the_prebuilt_firmware_is_that_of_the_sources(built: Built) -> None:
    """Rebuilding a copy of them elsewhere gives the committed ELF and manifest, bit for bit."""
    if not same_compiler(built):
        pytest.skip(f"prebuilt with {entry(built.prebuilt)['toolchain']}, which is not installed")
    assert built.elf.read_bytes() == built.prebuilt.read_bytes()
    assert entry(built.elf) == entry(built.prebuilt)


def test_the_folder_does_not_matter(built: Built, tmp_path: Path) -> None:
    """Built in its own folder it is the same ELF, as the prebuilt one was; and no path of either is in it."""
    at_home = built.prebuilt if same_compiler(built) else rebuild(FIRMWARE, tmp_path, built.model.firmware)
    assert at_home.read_bytes() == built.elf.read_bytes()
    for path in (FIRMWARE, built.folder, Path.home()):
        assert str(path).encode() not in built.elf.read_bytes()


@pytest.mark.parametrize("core", sorted(json.loads((PREBUILT / "manifest.json").read_text())["kernels"]))
def test_the_prebuilt_kernels_are_those_of_the_sources(
    core: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rebuilding a copy of the sources elsewhere gives the committed ELF and its entry in the manifest."""
    elf = built_for(tmp_path_factory, core)
    ours, listed = (
        json.loads((folder / "manifest.json").read_text())["kernels"][core]
        for folder in (elf.parent, PREBUILT)
    )
    if ours["toolchain"] != listed["toolchain"]:
        pytest.skip(f"prebuilt with {listed['toolchain']}, which is not installed")
    assert elf.read_bytes() == (PREBUILT / elf.name).read_bytes()
    assert ours == listed
    assert str(elf.parent).encode() not in elf.read_bytes()


def test_each_boards_core_has_kernels() -> None:
    """Whichever board `fqtbench kernels` is asked for, its core's kernels are there."""
    listed = json.loads((PREBUILT / "manifest.json").read_text())["kernels"]
    assert set(listed) == {model.core for model in VIRTUAL}


@pytest.mark.parametrize("model", VIRTUAL, ids=lambda model: model.name)
def test_the_manifest_describes_the_elf(model: BoardModel) -> None:
    """Hash, build id and sizes in the manifest are those of the committed ELF."""
    elf = PREBUILT / f"{model.firmware}.elf"
    listed = entry(elf)
    with elf.open("rb") as file:
        image = ELFFile(file)
        assert listed["build_id"] == image.get_section_by_name(".build_id").data().hex()
        sizes = {s.name: s["sh_size"] for s in image.iter_sections() if s["sh_flags"] & 2}
    assert listed["sha256"] == hashlib.sha256(elf.read_bytes()).hexdigest()
    assert listed["section_bytes"] == sizes
    assert listed["stack_bytes"] == sizes[".stack"]
    assert listed["protocol"] == PROTOCOL_VERSION


def test_it_needs_no_doubles_heap_or_libm(built: Built) -> None:
    """No double arithmetic, no allocator, no mathematical function: the engine's own float operations only."""
    with built.elf.open("rb") as file:
        names = {symbol.name for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()}
    forbidden = re.compile(
        r"__aeabi_d\w+|__aeabi_\w+2d|__aeabi_f2[iu]lz|_?malloc.*|_?free.*|_?calloc.*|_?realloc.*|_?sbrk.*|"
        r"(__ieee754_)?(exp|log|pow|sqrt|sin|cos|tanh|fma|round|floor|ceil|rint|lrint)f?|printf.*|abort|exit"
    )
    assert sorted(name for name in names if forbidden.fullmatch(name)) == []
    assert {"fqt_forward", "fqt_backward", "fqt_update", "link_poll", "main"} <= names


def test_memory_is_where_the_board_model_says(built: Built) -> None:
    """Flash below the model image, the stack at the bottom of RAM, the arena behind code and variables in RAM."""
    memory = built.model.memory
    ram_end = memory.ram_origin + memory.ram_bytes
    with built.elf.open("rb") as file:
        elf = ELFFile(file)
        loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        stack_top, reset = struct.unpack("<2I", elf.get_section_by_name(".vectors").data()[:8])
        entry_point = elf["e_entry"]
    assert min(s["p_paddr"] for s in loaded) == memory.flash_origin
    assert max(s["p_paddr"] + s["p_filesz"] for s in loaded) <= memory.image_origin
    assert (stack_top, reset) == (symbols["__stack_end"], entry_point)
    assert symbols["__stack_start"] == memory.ram_origin
    assert symbols["__stack_end"] - symbols["__stack_start"] == STACK_BYTES
    assert symbols["__arena_end"] == ram_end
    copied = sum(s["p_filesz"] for s in loaded if memory.ram_origin <= s["p_vaddr"] < ram_end)
    assert symbols["__arena_start"] - symbols["__stack_end"] - copied < VARIABLES_BYTES
    assert (symbols["__image_start"], symbols["__image_end"]) == (
        memory.image_origin,
        memory.image_origin + memory.image_bytes,
    )
