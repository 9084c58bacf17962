"""Generate a chip's register header from its SVD file, so that no address or bit position is typed by hand.

    python firmware/chips/svd2h.py nrf52840 > firmware/chips/nrf52840/registers.h
    python firmware/chips/svd2h.py rp2040 RP2040.svd > firmware/chips/rp2040/registers.h

The SVD files are those that pyOCD ships (``pyocd/debug/svd/svd_data.zip``) and, for chips that it has none of, the
vendor's own. Which it is, and which registers the header holds, stands in the chip's ``registers.toml``. A field's line
gives its mask, an enumerated value's line the value already in place.
Core registers (SCB, NVIC, DWT) are not in vendors' SVD files: see ``cortex_m.h``.
"""

import hashlib
import importlib.util
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

CHIPS: Final = Path(__file__).parent


@dataclass(frozen=True)
class Wanted:
    """A chip's registers.toml: names by peripheral, and where its SVD file is.

    `registers`: register names, clusters joined by dots, or INTERRUPT for the interrupt's number,
    INTERRUPT.NAME for that of one of several. `fields`:
    "REGISTER.FIELD" for a mask, "REGISTER.FIELD.VALUE" for a value in its place. `pyocd`: the file's name in pyOCD;
    else `origin` and `sha256` say which file of the vendor's it is.
    """

    chip: str
    registers: dict[str, list[str]]
    fields: dict[str, list[str]]
    pyocd: str | None
    origin: str
    sha256: str


def wanted_of(chip: str) -> Wanted:
    """Read firmware/chips/CHIP/registers.toml."""
    data = tomllib.loads((CHIPS / chip / "registers.toml").read_text("utf-8"))
    svd = data["svd"]
    return Wanted(
        chip,
        data["registers"],
        data["fields"],
        svd.get("pyocd"),
        svd.get("origin", ""),
        svd.get("sha256", ""),
    )


def svd_of(wanted: Wanted, file: Path | None) -> ElementTree.Element:
    """Parse the SVD file of a chip: `file`, or the one in the installed pyOCD."""
    if wanted.pyocd is None:
        return _checked_svd(wanted, file)
    pyocd = importlib.util.find_spec("pyocd")
    if pyocd is None or pyocd.origin is None:
        raise SystemExit(
            "svd2h: pyOCD is not installed here, and it carries the SVD files: pip install pyocd"
        )
    archive = Path(pyocd.origin).parent / "debug" / "svd" / "svd_data.zip"
    with zipfile.ZipFile(archive) as files:
        return ElementTree.fromstring(files.read(wanted.pyocd))


def _checked_svd(wanted: Wanted, file: Path | None) -> ElementTree.Element:
    if file is None:
        raise SystemExit(
            f"svd2h: pyOCD has no SVD file of the {wanted.chip}; give the path of {wanted.origin}"
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise SystemExit(f"svd2h: {file} is not {wanted.origin}: its SHA-256 is another")
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


def header(wanted: Wanted, file: Path | None) -> str:
    """Return the text of a chip's ``registers.h``."""
    device = svd_of(wanted, file)
    version = device.findtext("version") or "?"
    origin = f" {wanted.pyocd} (version {version}), which\n * pyOCD ships."
    if wanted.pyocd is None:
        origin = f"\n * {wanted.origin}."
    lines = [
        f"/* Registers of the {wanted.chip}: generated by firmware/chips/svd2h.py from{origin} "
        "Don't edit: change registers.toml and generate again. */",
        "#ifndef REGISTERS_H",
        "#define REGISTERS_H",
        "",
        "#include <stdint.h>",
        "",
        "#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))",
    ]
    peripherals = {text_of(p, "name"): p for p in device.iterfind("peripherals/peripheral")}
    body: list[str] = []
    for name in wanted.registers:
        body += ["", f"/* {name} */", *peripheral_lines(wanted, name, peripherals)]
    for bits in (8, 16):
        if any(f" REGISTER{bits}(" in line for line in body):
            lines.append(f"#define REGISTER{bits}(address) (*(volatile uint{bits}_t *)(uintptr_t)(address))")
    return "\n".join([*lines, *body, "", "#endif", ""])


def peripheral_lines(wanted: Wanted, name: str, peripherals: dict[str, ElementTree.Element]) -> Iterator[str]:
    """Yield the #define lines of one peripheral; one derived from another takes that one's registers."""
    peripheral = peripherals[name]
    layout = peripherals[peripheral.get("derivedFrom") or name]
    found = {p: (a, e) for p, a, e in registers_of(layout, number(text_of(peripheral, "baseAddress")))}
    fields = wanted.fields.get(name, [])
    for path in wanted.registers[name]:
        if path.partition(".")[0] == "INTERRUPT":
            yield interrupt_line(peripheral, path)
            continue
        if path not in found:
            raise SystemExit(f"svd2h: the SVD file of the {wanted.chip} has no {name}.{path}")
        address, register = found[path]
        yield f"#define {macro(name, path)} REGISTER{width_of(register)}(0x{address:08X}u)"
        for field in fields:
            if field.startswith(path + "."):
                yield "  " + field_line(name, field, register, path)


def interrupt_line(peripheral: ElementTree.Element, path: str) -> str:
    """Return the #define for INTERRUPT, a peripheral's only or first one, or for INTERRUPT.NAME."""
    peripheral_name, wanted = text_of(peripheral, "name"), path.partition(".")[2]
    for interrupt in peripheral.iterfind("interrupt"):
        if wanted in ("", text_of(interrupt, "name")):
            return f"#define {macro(peripheral_name, path)} {number(text_of(interrupt, 'value'))}u"
    raise SystemExit(f"svd2h: {peripheral_name} has no {path}")


def width_of(register: ElementTree.Element) -> str:
    """Return "8" or "16" for a register that is narrower than a word, else nothing."""
    bits = number(register.findtext("size") or "32")
    return "" if bits == 32 else str(bits)


def registers_of(peripheral: ElementTree.Element, base: int) -> list[tuple[str, int, ElementTree.Element]]:
    """List every register of a peripheral at `base`."""
    block = peripheral.find("registers")
    return [] if block is None else list(registers(block, "", base))


if __name__ == "__main__":
    known = sorted(path.parent.name for path in CHIPS.glob("*/registers.toml"))
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in known:
        raise SystemExit(f"usage: svd2h.py {{{','.join(known)}}} [SVD]")
    sys.stdout.write(header(wanted_of(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None))
