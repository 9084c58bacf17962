"""Energy: monitors behind one small protocol, opened by URL."""

from fqtbench.power.monitor import Monitor, State, open_monitor

__all__ = ["Monitor", "State", "open_monitor"]
