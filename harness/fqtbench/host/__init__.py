"""The training engine on this computer: the same C, built as a shared library on first use. No latency, no energy."""

from fqtbench.host.build import EngineLibrary, build_library
from fqtbench.host.device import LibraryDevice

__all__ = ["EngineLibrary", "LibraryDevice", "build_library"]
