"""Generate a chip's register header from its SVD file, so that no address or bit position is typed by hand.

    python firmware/chips/svd2h.py nrf52840 > firmware/chips/nrf52840/registers.h

The SVD files are those that pyOCD ships (``pyocd/debug/svd/svd_data.zip``). The header holds only the registers
listed in ``WANTED``; a field's line gives its mask, an enumerated value's line the value already in place.
Core registers (SCB, NVIC, DWT) are not in vendors' SVD files: see ``cortex_m.h``.
"""

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
}  # fmt: skip


def svd_of(chip: str) -> ElementTree.Element:
    """Parse the SVD file of `chip` out of the installed pyOCD."""
    pyocd = importlib.util.find_spec("pyocd")
    if pyocd is None or pyocd.origin is None:
        raise SystemExit(
            "svd2h: pyOCD is not installed here, and it carries the SVD files: pip install pyocd"
        )
    archive = Path(pyocd.origin).parent / "debug" / "svd" / "svd_data.zip"
    with zipfile.ZipFile(archive) as files:
        return ElementTree.fromstring(files.read(f"{chip}.svd"))


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


def header(chip: str) -> str:
    """Return the text of ``registers.h`` for `chip`."""
    device = svd_of(chip)
    version = device.findtext("version") or "?"
    lines = [
        f"/* Registers of the {chip}: generated by firmware/chips/svd2h.py from {chip}.svd (version {version}), which",
        " * pyOCD ships. Don't edit: change the list in svd2h.py and generate again. */",
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
    if len(sys.argv) != 2 or sys.argv[1] not in WANTED:
        raise SystemExit(f"usage: svd2h.py {{{','.join(WANTED)}}}")
    sys.stdout.write(header(sys.argv[1]))
