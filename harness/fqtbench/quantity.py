"""Numbers as people and as other programs read them."""

import math
from typing import Any, Final

_PREFIXES: Final = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def finite(value: Any) -> Any:
    """Return it with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def si(value: float | None, unit: str) -> str:
    """Return a quantity with four digits and a prefix, as instruments show it."""
    if value is None or not math.isfinite(value):
        return "–"
    scale, prefix = next((pair for pair in _PREFIXES if abs(value) >= pair[0]), _PREFIXES[-1])
    return f"{value / scale:.4g} {prefix}{unit}" if value else f"0 {unit}"
