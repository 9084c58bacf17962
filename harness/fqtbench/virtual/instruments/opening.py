"""Which instruments can be emulated, and what may be asked to go wrong in one."""

import math
from dataclasses import fields, replace
from typing import Any, Final

from fqtbench.virtual.instruments.instrument import EmulatedInstrument, Faults

KINDS: Final = ("lpm01a", "otii", "ppk2")
_SHORT: Final = {"noise": "noise_a"}


def open_instrument(kind: str, supply_volts: float, faults: Faults) -> EmulatedInstrument:
    """Return an instrument of `KINDS` for a board of `supply_volts`; OSError if its port can't be opened.

    Each is imported only where it is asked for: a virtual board starts in a third of a second.
    """
    match kind:
        case "ppk2":
            from fqtbench.virtual.instruments.ppk2 import EmulatedPpk2  # noqa: PLC0415

            return EmulatedPpk2(supply_volts, faults)
        case "otii":
            from fqtbench.virtual.instruments.otii import EmulatedOtii  # noqa: PLC0415

            return EmulatedOtii(faults)
        case "lpm01a":
            from fqtbench.virtual.instruments.lpm01a import EmulatedLpm01a  # noqa: PLC0415

            return EmulatedLpm01a(faults)
    raise ValueError(f"no emulated instrument of kind {kind}")


def parse_faults(text: str) -> Faults:
    """Read ``lose=1e-4,noise=1e-6,seed=3,miscalibrated``; ValueError, which says what is wrong."""
    faults = Faults()
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        faults = replace(faults, **{_SHORT.get(name, name): _value(_SHORT.get(name, name), value)})
    return faults


def _value(name: str, text: str) -> Any:
    types = {field.name: field.type for field in fields(Faults)}
    if name not in types:
        known = ", ".join(sorted({*types, *_SHORT} - set(_SHORT.values())))
        raise ValueError(f"unknown fault {name}; there are {known}")
    if types[name] is bool:
        if text:
            raise ValueError(f"{name} takes no value")
        return True
    try:
        number = int(text) if types[name] is int else float(text)
    except ValueError:
        raise ValueError(f"{name}={text}: not a number") from None
    if not math.isfinite(number) or number < 0 or (name in ("lose", "double", "tear") and number > 1):
        raise ValueError(f"{name}={text}: out of range; a share is 0 to 1, the others are at least 0")
    return number
