"""Generate a chip's register header from its SVD file, so that no address or bit position is typed by hand.

    python firmware/chips/svd2h.py nrf52840 > firmware/chips/nrf52840/registers.h
    python firmware/chips/svd2h.py rp2040 RP2040.svd > firmware/chips/rp2040/registers.h

The SVD files are those that pyOCD ships (``pyocd/debug/svd/svd_data.zip``) and, for chips that it has none of, the vendor's
own, named with its SHA-256 in ``ELSEWHERE``. The header holds only the registers
listed in ``WANTED``; a field's line gives its mask, an enumerated value's line the value already in place.
Core registers (SCB, NVIC, DWT) are not in vendors' SVD files: see ``cortex_m.h``.
"""

import hashlib
import importlib.util
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

# chip -> peripheral -> registers; "CLUSTER.REGISTER" inside a cluster, "INTERRUPT" for the peripheral's number.
WANTED: Final[dict[str, dict[str, list[str]]]] = {
    "nrf52840": {
        "CLOCK": ["TASKS_HFCLKSTART", "EVENTS_HFCLKSTARTED"],
        "FICR": ["DEVICEID[0]", "DEVICEID[1]", "INFO.PART"],
        "NVMC": ["ICACHECNF"],
        "P0": ["OUTSET", "OUTCLR", "DIRSET", "PIN_CNF[8]"],
        "P1": ["OUTSET", "OUTCLR", "DIRSET"],
        "POWER": ["RESETREAS", "DCDCEN"],
        "UICR": ["APPROTECT"],
        "UARTE0": [
            "INTERRUPT", "TASKS_STARTRX", "TASKS_STOPRX", "TASKS_STARTTX", "EVENTS_RXDRDY", "EVENTS_ENDRX",
            "EVENTS_ENDTX", "EVENTS_RXTO", "EVENTS_RXSTARTED", "SHORTS", "INTENSET", "INTENCLR", "ENABLE",
            "PSEL.TXD", "PSEL.RXD", "BAUDRATE", "CONFIG",
            "RXD.PTR", "RXD.MAXCNT", "TXD.PTR", "TXD.MAXCNT",
        ],
    },
    "rp2040": {
        "CLOCKS": [
            "CLK_REF_CTRL", "CLK_REF_SELECTED", "CLK_SYS_CTRL", "CLK_SYS_SELECTED", "CLK_PERI_CTRL",
            "CLK_SYS_RESUS_CTRL",
        ],
        "DMA": [
            *(f"CH{n}_{name}" for n in range(3) for name in (
                "READ_ADDR", "WRITE_ADDR", "TRANS_COUNT", "CTRL_TRIG", "AL1_CTRL", "AL2_WRITE_ADDR_TRIG",
                "AL3_READ_ADDR_TRIG",
            )),
            "INTR", "CHAN_ABORT",
        ],
        "IO_BANK0": ["INTERRUPT", "GPIO0_CTRL", "GPIO1_CTRL", "GPIO2_CTRL", "GPIO3_CTRL", "INTR0", "PROC0_INTE0"],
        "PADS_BANK0": ["GPIO1"],
        "PADS_QSPI": [
            "GPIO_QSPI_SCLK", "GPIO_QSPI_SD0", "GPIO_QSPI_SD1", "GPIO_QSPI_SD2", "GPIO_QSPI_SD3",
        ],
        "PLL_SYS": ["CS", "PWR", "FBDIV_INT", "PRIM"],
        "PSM": ["WDSEL"],
        "RESETS": ["RESET", "RESET_DONE"],
        "SIO": ["GPIO_OUT_SET", "GPIO_OUT_CLR", "GPIO_OE_SET"],
        "SSI": [
            "CTRLR0", "CTRLR1", "SSIENR", "SER", "BAUDR", "SR", "DR0", "RX_SAMPLE_DLY", "SPI_CTRLR0",
        ],
        "SYSINFO": ["CHIP_ID"],
        "TIMER": ["TIMERAWL"],
        "UART0": [
            "UARTDR", "UARTFR", "UARTIBRD", "UARTFBRD", "UARTLCR_H", "UARTCR", "UARTDMACR",
        ],
        "VREG_AND_CHIP_RESET": ["CHIP_RESET"],
        "WATCHDOG": ["CTRL", "REASON", "SCRATCH0", "SCRATCH1", "TICK"],
        "XOSC": ["CTRL", "STATUS", "STARTUP"],
    },
}  # fmt: skip

# "REGISTER.FIELD" whose mask the firmware uses, and "REGISTER.FIELD.VALUE" whose value it writes.
WANTED_FIELDS: Final[dict[str, dict[str, list[str]]]] = {
    "nrf52840": {
        "NVMC": ["ICACHECNF.CACHEEN.Enabled"],
        "P0": ["PIN_CNF[8].INPUT.Connect", "PIN_CNF[8].PULL.Pullup"],
        "POWER": [
            "RESETREAS.RESETPIN", "RESETREAS.DOG", "RESETREAS.SREQ", "RESETREAS.LOCKUP", "RESETREAS.DIF",
            "DCDCEN.DCDCEN.Enabled",
        ],
        "UARTE0": [
            "SHORTS.ENDRX_STARTRX.Enabled", "INTENSET.RXDRDY.Set", "INTENCLR.RXDRDY.Clear",
            "ENABLE.ENABLE.Enabled", "BAUDRATE.BAUDRATE.Baud1M",
        ],
    },
    "rp2040": {
        "CLOCKS": [
            "CLK_REF_CTRL.SRC", "CLK_REF_CTRL.SRC.xosc_clksrc", "CLK_SYS_CTRL.SRC",
            "CLK_SYS_CTRL.SRC.clksrc_clk_sys_aux", "CLK_SYS_CTRL.AUXSRC.clksrc_pll_sys", "CLK_PERI_CTRL.ENABLE",
            "CLK_PERI_CTRL.AUXSRC.clk_sys",
        ],
        "DMA": [
            "CH0_CTRL_TRIG.EN", "CH0_CTRL_TRIG.INCR_READ", "CH0_CTRL_TRIG.INCR_WRITE",
            "CH0_CTRL_TRIG.DATA_SIZE.SIZE_BYTE", "CH0_CTRL_TRIG.DATA_SIZE.SIZE_WORD", "CH0_CTRL_TRIG.CHAIN_TO",
            "CH0_CTRL_TRIG.TREQ_SEL.UART0_RX", "CH0_CTRL_TRIG.TREQ_SEL.UART0_TX",
            "CH0_CTRL_TRIG.TREQ_SEL.PERMANENT", "CH0_CTRL_TRIG.BUSY",
        ],
        "IO_BANK0": [
            "GPIO0_CTRL.FUNCSEL.uart0_tx", "GPIO1_CTRL.FUNCSEL.uart0_rx", "GPIO2_CTRL.FUNCSEL.sio_2",
            "GPIO3_CTRL.FUNCSEL.sio_3", "INTR0.GPIO1_EDGE_LOW", "PROC0_INTE0.GPIO1_EDGE_LOW",
        ],
        "PADS_BANK0": ["GPIO1.IE", "GPIO1.PUE", "GPIO1.SCHMITT"],
        "PADS_QSPI": [
            "GPIO_QSPI_SCLK.DRIVE.8mA", "GPIO_QSPI_SCLK.SLEWFAST", "GPIO_QSPI_SD0.SCHMITT",
        ],
        "PLL_SYS": ["CS.LOCK", "PWR.PD", "PWR.VCOPD", "PWR.POSTDIVPD", "PRIM.POSTDIV1", "PRIM.POSTDIV2"],
        "PSM": ["WDSEL.ROSC", "WDSEL.XOSC", "WDSEL.PROC1"],
        "RESETS": [
            "RESET.DMA", "RESET.IO_BANK0", "RESET.PADS_BANK0", "RESET.PLL_SYS", "RESET.SYSINFO", "RESET.TIMER",
            "RESET.UART0",
        ],
        "SSI": [
            "CTRLR0.SPI_FRF.QUAD", "CTRLR0.DFS_32", "CTRLR0.TMOD.TX_AND_RX", "CTRLR0.TMOD.EEPROM_READ",
            "SR.TFE", "SR.BUSY", "SPI_CTRLR0.XIP_CMD", "SPI_CTRLR0.WAIT_CYCLES", "SPI_CTRLR0.INST_L.NONE",
            "SPI_CTRLR0.INST_L.8B", "SPI_CTRLR0.ADDR_L", "SPI_CTRLR0.TRANS_TYPE.1C2A",
            "SPI_CTRLR0.TRANS_TYPE.2C2A",
        ],
        "SYSINFO": ["CHIP_ID.PART", "CHIP_ID.MANUFACTURER"],
        "UART0": [
            "UARTFR.RXFE", "UARTFR.BUSY", "UARTLCR_H.WLEN", "UARTLCR_H.FEN", "UARTCR.UARTEN", "UARTCR.RXE",
            "UARTCR.TXE", "UARTDMACR.TXDMAE", "UARTDMACR.RXDMAE",
        ],
        "VREG_AND_CHIP_RESET": ["CHIP_RESET.HAD_POR", "CHIP_RESET.HAD_RUN", "CHIP_RESET.HAD_PSM_RESTART"],
        "WATCHDOG": ["CTRL.TRIGGER", "REASON.FORCE", "REASON.TIMER", "TICK.ENABLE"],
        "XOSC": ["CTRL.ENABLE.ENABLE", "CTRL.FREQ_RANGE.1_15MHZ", "STATUS.STABLE"],
    },
}  # fmt: skip

# chip -> where its SVD file is, and the file's SHA-256; the other chips' files come with pyOCD.
ELSEWHERE: Final[dict[str, tuple[str, str]]] = {
    "rp2040": (
        "raspberrypi/pico-sdk 2.2.0, src/rp2040/hardware_regs/RP2040.svd",
        "49f53398e0496b6de0849faf17a9f4e58565af311b98b727e4ebeee964619bc6",
    ),
}


def svd_of(chip: str, file: Path | None) -> ElementTree.Element:
    """Parse the SVD file of `chip`: `file`, or the one in the installed pyOCD."""
    if chip in ELSEWHERE:
        return _checked_svd(chip, file)
    pyocd = importlib.util.find_spec("pyocd")
    if pyocd is None or pyocd.origin is None:
        raise SystemExit(
            "svd2h: pyOCD is not installed here, and it carries the SVD files: pip install pyocd"
        )
    archive = Path(pyocd.origin).parent / "debug" / "svd" / "svd_data.zip"
    with zipfile.ZipFile(archive) as files:
        return ElementTree.fromstring(files.read(f"{chip}.svd"))


def _checked_svd(chip: str, file: Path | None) -> ElementTree.Element:
    where, expected = ELSEWHERE[chip]
    if file is None:
        raise SystemExit(f"svd2h: pyOCD has no SVD file of the {chip}; give the path of {where}")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise SystemExit(f"svd2h: {file} is not {where}: its SHA-256 is another")
    return ElementTree.fromstring(content)


def number(text: str) -> int:
    """Read an SVD number: decimal, 0x… or #binary."""
    return int(text[1:], 2) if text.startswith("#") else int(text, 0)


def text_of(element: ElementTree.Element, tag: str) -> str:
    """Return the text of a child that the SVD schema requires."""
    found = element.findtext(tag)
    if found is None:
        raise SystemExit(f"svd2h: <{element.tag}> {element.findtext('name')} has no <{tag}>")
    return found.strip()


def registers(
    element: ElementTree.Element, prefix: str, base: int
) -> Iterator[tuple[str, int, ElementTree.Element]]:
    """Yield (path, address, element) of every register below `element`, arrays unrolled."""
    for child in element:
        if child.tag not in ("register", "cluster"):
            continue
        name, offset = text_of(child, "name"), base + number(text_of(child, "addressOffset"))
        count = number(child.findtext("dim") or "1")
        step = number(child.findtext("dimIncrement") or "0")
        for index in range(count):
            path = prefix + name.replace("%s", str(index))
            if child.tag == "cluster":
                yield from registers(child, path + ".", offset + index * step)
            else:
                yield path, offset + index * step, child


def bits_of(field: ElementTree.Element) -> tuple[int, int]:
    """Return (lowest bit, width) of a field in any of the three ways that SVD can state it."""
    if (bit_range := field.findtext("bitRange")) is not None:
        match = re.fullmatch(r"\[(\d+):(\d+)\]", bit_range.strip())
        if match is None:
            raise SystemExit(f"svd2h: bit range {bit_range}")
        high, low = int(match[1]), int(match[2])
        return low, high - low + 1
    if (lsb := field.findtext("lsb")) is not None:
        return number(lsb), number(text_of(field, "msb")) - number(lsb) + 1
    return number(text_of(field, "bitOffset")), number(text_of(field, "bitWidth"))


def macro(*parts: str) -> str:
    """Join names to one C macro name."""
    return re.sub(r"_+", "_", re.sub(r"\W", "_", "_".join(parts))).strip("_").upper()


def field_line(peripheral: str, wanted: str, register: ElementTree.Element, path: str) -> str:
    """Return the #define for ``path.FIELD`` (its mask) or ``path.FIELD.VALUE`` (the value in place)."""
    field_name, _, value_name = wanted.removeprefix(path + ".").partition(".")
    for field in register.iterfind("fields/field"):
        if text_of(field, "name") != field_name:
            continue
        low, width = bits_of(field)
        if not value_name:
            return f"#define {macro(peripheral, path, field_name)} 0x{((1 << width) - 1) << low:08X}u"
        for value in field.iterfind("enumeratedValues/enumeratedValue"):
            if text_of(value, "name") == value_name:
                bits = number(text_of(value, "value")) << low
                return f"#define {macro(peripheral, path, field_name, value_name)} 0x{bits:08X}u"
    raise SystemExit(f"svd2h: {peripheral} has no {wanted}")


def header(chip: str, file: Path | None) -> str:
    """Return the text of ``registers.h`` for `chip`."""
    device = svd_of(chip, file)
    version = device.findtext("version") or "?"
    origin = f" {chip}.svd (version {version}), which\n * pyOCD ships."
    if chip in ELSEWHERE:
        origin = f"\n * {ELSEWHERE[chip][0]}."
    lines = [
        f"/* Registers of the {chip}: generated by firmware/chips/svd2h.py from{origin} "
        "Don't edit: change the list in svd2h.py and generate again. */",
        "#ifndef REGISTERS_H",
        "#define REGISTERS_H",
        "",
        "#include <stdint.h>",
        "",
        "#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))",
    ]
    peripherals = {text_of(p, "name"): p for p in device.iterfind("peripherals/peripheral")}
    for name, wanted in WANTED[chip].items():
        lines += ["", f"/* {name} */", *peripheral_lines(chip, name, wanted, peripherals)]
    return "\n".join([*lines, "", "#endif", ""])


def peripheral_lines(
    chip: str, name: str, wanted: list[str], peripherals: dict[str, ElementTree.Element]
) -> Iterator[str]:
    """Yield the #define lines of one peripheral; one derived from another takes that one's registers."""
    peripheral = peripherals[name]
    layout = peripherals[peripheral.get("derivedFrom") or name]
    found = {p: (a, e) for p, a, e in registers_of(layout, number(text_of(peripheral, "baseAddress")))}
    fields = WANTED_FIELDS[chip].get(name, [])
    for path in wanted:
        if path == "INTERRUPT":
            interrupt = peripheral.find("interrupt")
            assert interrupt is not None, name
            yield f"#define {macro(name, 'INTERRUPT')} {number(text_of(interrupt, 'value'))}u"
            continue
        if path not in found:
            raise SystemExit(f"svd2h: {chip}.svd has no {name}.{path}")
        address, register = found[path]
        yield f"#define {macro(name, path)} REGISTER(0x{address:08X}u)"
        for field in fields:
            if field.startswith(path + "."):
                yield "  " + field_line(name, field, register, path)


def registers_of(peripheral: ElementTree.Element, base: int) -> list[tuple[str, int, ElementTree.Element]]:
    """List every register of a peripheral at `base`."""
    block = peripheral.find("registers")
    return [] if block is None else list(registers(block, "", base))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in WANTED:
        raise SystemExit(f"usage: svd2h.py {{{','.join(WANTED)}}} [SVD]")
    sys.stdout.write(header(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) == 3 else None))
