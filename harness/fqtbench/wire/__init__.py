"""The host's end of the wire: frames, the serial line, and the board as a Python object.

The bytes are fixed in docs/wire.md; the device's end is ``firmware/wire/``.
"""

from fqtbench.wire.device import Device
from fqtbench.wire.line import Line, SerialLine
from fqtbench.wire.messages import ArenaUse, Checksum, Evaluated, Hello, ImageStatus, Status, Step, Sunk
from fqtbench.wire.opening import open_line

__all__ = [
    "ArenaUse",
    "Checksum",
    "Device",
    "Evaluated",
    "Hello",
    "ImageStatus",
    "Line",
    "SerialLine",
    "Status",
    "Step",
    "Sunk",
    "open_line",
]
