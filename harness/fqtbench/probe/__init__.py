"""A board's debug probe: flash, verify, reset, recover, read memory. The only user of pyOCD in fqtbench.

pyOCD guesses, asks and waits where a bench must not: here a probe id matches exactly or not at all, nothing
prompts, no configuration or user script is taken from the working directory, a locked chip is never erased
without being asked to, and every failure is one line of `ProbeError` or `FlashError`. What pyOCD may still do
is hang in a USB driver: run it in a process that can be killed.
"""

from fqtbench.probe.elf import Segment, elf_segments
from fqtbench.probe.probe import CONNECT_MODES, FlashReport, Probe, ProbeInfo, list_probes, unknown_targets

__all__ = [
    "CONNECT_MODES",
    "FlashReport",
    "Probe",
    "ProbeInfo",
    "Segment",
    "elf_segments",
    "list_probes",
    "unknown_targets",
]
