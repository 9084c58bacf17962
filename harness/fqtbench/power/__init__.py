"""Energy: monitors behind one small protocol, opened by URL."""

from fqtbench.power.monitor import Monitor, State, SupplySwitch, open_monitor, switches_supply

__all__ = ["Monitor", "State", "SupplySwitch", "open_monitor", "switches_supply"]
