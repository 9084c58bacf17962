"""Energy: monitors behind one small protocol, opened by URL."""

from fqtbench.power.kinds import known_kinds, load_kind, open_monitor, switches_supply
from fqtbench.power.monitor import Calibrated, Monitor, State, SupplySwitch

__all__ = [
    "Calibrated",
    "Monitor",
    "State",
    "SupplySwitch",
    "known_kinds",
    "load_kind",
    "open_monitor",
    "switches_supply",
]
