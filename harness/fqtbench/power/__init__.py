"""Energy: monitors behind one small protocol, opened by URL."""

from fqtbench.power.account import PHASES, Account, Windows
from fqtbench.power.excerpt import Excerpt
from fqtbench.power.kinds import known_kinds, load_kind, open_monitor, switches_supply
from fqtbench.power.monitor import (
    Calibrated,
    Closable,
    Excerpting,
    Measuring,
    Monitor,
    Sampling,
    State,
    SupplySwitch,
    closing,
)

__all__ = [
    "PHASES",
    "Account",
    "Calibrated",
    "Closable",
    "Excerpt",
    "Excerpting",
    "Measuring",
    "Monitor",
    "Sampling",
    "State",
    "SupplySwitch",
    "Windows",
    "closing",
    "known_kinds",
    "load_kind",
    "open_monitor",
    "switches_supply",
]
