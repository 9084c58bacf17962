"""What the M7's timing is looked at on: a network with every kind of convolution, and the firmware's engine."""

from typing import Final

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from benchmarks.inline_board import SAMPLES
from benchmarks.promise import ROOT
from fqtbench.paths import share
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.spec import NetworkSpec, TrainingSpec

BOARD: Final = "mimxrt1062"
_NETWORK: Final = NetworkSpec.model_validate(
    {
        "layers": [
            {"type": "conv2d", "filters": 16},
            {"type": "max_pool"},
            {"type": "depthwise_conv2d"},
            {"type": "conv2d", "filters": 32, "kernel": 1},
            {"type": "max_pool"},
            {"type": "conv2d", "filters": 32},
            {"type": "max_pool"},
            {"type": "flatten"},
            {"type": "fully_connected", "units": 32},
            {"type": "fully_connected", "units": 10, "activation": "linear"},
        ]
    }
)


def image() -> bytes:
    """Return the network's model image."""
    x, y = SAMPLES.train_x[:32], SAMPLES.train_y[:32]
    memory = Memory(0xC0000, 200_000)
    return compile_model(_NETWORK, TrainingSpec(), x, y, 10, memory, seed=1, n_steps=1000).image


def engine_functions() -> dict[int, tuple[int, str]]:
    """Return the engine's functions in the firmware: begin to end and name."""
    sources = {path.name for path in (ROOT / "firmware" / "engine").rglob("*.c")}
    found, source = {}, ""
    with (share("firmware/prebuilt") / f"{BOARD}.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        for symbol in table.iter_symbols():
            kind = symbol["st_info"]["type"]
            if kind == "STT_FILE":
                source = symbol.name
            is_local = symbol["st_info"]["bind"] == "STB_LOCAL"
            if kind == "STT_FUNC" and (source in sources if is_local else symbol.name.startswith("fqt_")):
                begin = symbol["st_value"] & ~1
                found[begin] = (begin + symbol["st_size"], symbol.name)
    return found


def name_of(address: int, functions: dict[int, tuple[int, str]]) -> str | None:
    """Return the name of the engine's function at `address`."""
    for begin, (end, name) in functions.items():
        if begin <= address < end:
            return name
    return None
