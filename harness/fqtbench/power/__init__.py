"""Energy: monitors behind one small protocol, opened by URL."""

from fqtbench.power.kinds import known_kinds, load_kind, open_monitor, switches_supply
from fqtbench.power.monitor import Calibrated, Closable, Monitor, State, SupplySwitch, closing

__all__ = [
    "Calibrated",
    "Closable",
    "Monitor",
    "State",
    "SupplySwitch",
    "closing",
    "known_kinds",
    "load_kind",
    "open_monitor",
    "switches_supply",
]
