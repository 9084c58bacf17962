"""Which instruments can be emulated, and what may be asked to go wrong in one."""

import importlib
import math
from dataclasses import fields, replace
from typing import Any, Final

from fqtbench.virtual.instruments.instrument import EmulatedInstrument, Faults

_CLASSES: Final = {
    "ppk2": "Ppk2",
    "lpm01a": "Lpm01a",
    "otii": "Otii",
}  # each in the module of its kind's name
_SHORT: Final = {"noise": "noise_a"}


def kinds() -> list[str]:
    """Return the names of all kinds."""
    return sorted(_CLASSES)


def open_instrument(kind: str, supply_volts: float, faults: Faults) -> EmulatedInstrument:
    """Return an instrument that feeds a board of `supply_volts`; OSError if its port can't be opened."""
    module = importlib.import_module(f"fqtbench.virtual.instruments.{kind}")
    instrument: EmulatedInstrument = getattr(module, _CLASSES[kind])(supply_volts, faults)
    return instrument


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
