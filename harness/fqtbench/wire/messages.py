"""What the device says, as Python objects and as sentences."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple, Self

from fqtbench.wire.frames import PROTOCOL_VERSION

GRANT_BYTES: Final = 4
"""Every reply's payload begins with `grant`, a u32."""

_GRANT: Final = struct.Struct("<I")
_STEP: Final = struct.Struct("<IHHfIII")
_EVALUATED: Final = struct.Struct("<HHfI")


class ImageStatus(IntEnum):
    """``enum fqt_status`` of firmware/engine/fqt.h: what the device thinks of the model image in its flash."""

    OK = 0
    BAD_MAGIC = 1
    BAD_VERSION = 2
    BAD_ARITH = 3
    BAD_LENGTH = 4
    BAD_CRC = 5
    ARENA_TOO_SMALL = 6
    UNKNOWN_LAYER = 7
    UNKNOWN_FEATURE = 8
    BAD_TENSOR = 9
    BAD_LAYER = 10
    BAD_IO = 11


def describe_image(status: int, detail: int) -> str:
    """Return a clause that says what is wrong with the model image on the board."""
    layer, kind = detail >> 16, detail & 0xFFFF
    clauses = {
        ImageStatus.OK: "the model image is good",
        ImageStatus.BAD_MAGIC: "there is no model image in its flash; flash one",
        ImageStatus.BAD_VERSION: f"the model image has format version {detail}, which this firmware does not know; "
        "flash the firmware that comes with this fqtbench",
        ImageStatus.BAD_ARITH: f"the model image was compiled for arithmetic {detail}, the firmware has another; "
        "flash the firmware that comes with this fqtbench",
        ImageStatus.BAD_LENGTH: f"the model image says it is {detail} bytes long, which is impossible; flash it again",
        ImageStatus.BAD_CRC: f"the model image is damaged (CRC 0x{detail:08X} computed); flash it again",
        ImageStatus.ARENA_TOO_SMALL: f"the model image needs {detail} bytes of RAM more than the board has; "
        "choose a smaller network or a larger board",
        ImageStatus.UNKNOWN_LAYER: f"layer {layer} of the model image has type {kind}, which the firmware does not "
        "know; flash the firmware that comes with this fqtbench",
        ImageStatus.UNKNOWN_FEATURE: f"the model image uses a feature that the firmware does not know (header field "
        f"{detail}); flash the firmware that comes with this fqtbench",
        ImageStatus.BAD_TENSOR: f"tensor {detail} of the model image lies outside its memory; compile it again",
        ImageStatus.BAD_LAYER: f"the shapes of layer {detail} of the model image don't fit together; compile it again",
        ImageStatus.BAD_IO: "the model image's sample slots or receive ring are misplaced or too small; compile it "
        "again",
    }
    return next((text for code, text in clauses.items() if code == status), f"unknown image status {status}")


_RESETS: Final = {
    0: "power-on or brown-out",
    1: "reset pin",
    2: "watchdog",
    3: "software or debug probe",
    4: "core lock-up, as after a stack overflow",
    5: "debug interface",
    6: "another cause",
}
_EXCEPTIONS: Final = {2: "NMI", 3: "HardFault", 4: "MemManage fault", 5: "BusFault", 6: "UsageFault"}


def describe_reset(reason: int) -> str:
    """Return the reset reason (docs/wire.md) in words."""
    causes = [text for bit, text in _RESETS.items() if reason >> bit & 1] or ["unknown cause"]
    exception = reason >> 16 & 0xFF
    if exception:
        causes.append(f"the firmware hit a {_EXCEPTIONS.get(exception, f'exception {exception}')}")
    return ", ".join(causes)


def describe_error(code: int, detail: int) -> str:
    """Return a clause for an ERROR reply."""
    clauses = {
        1: f"it does not know frame type 0x{detail:02X}; flash the firmware that comes with this fqtbench",
        2: f"it got a payload of {detail} bytes, which is not what the frame needs; "
        "does the image on the board belong to this data set?",
        3: "it does not know this session",
        4: describe_image(detail, 0) if detail else "it has no usable model image",
        5: f"label {detail} is not a class of the network on the board",
        6: f"tensor {detail} is unknown or has no such bytes in RAM",
        7: f"it speaks protocol version {detail}, fqtbench speaks {PROTOCOL_VERSION}; "
        "flash the firmware that comes with this fqtbench",
    }
    return clauses.get(code, f"error {code} (detail {detail})")


@dataclass(frozen=True, slots=True)
class Hello:
    """The device's account of itself; sizes in bytes."""

    nonce: int
    protocol: int
    arith_id: int
    chip: int
    build_id: bytes
    clock_hz: int
    baud: int
    window: int
    max_body_bytes: int
    arena_bytes: int
    arena_peak_bytes: int
    image_status: int
    image_detail: int
    image_crc: int
    sample_bytes: int
    reset_reason: int
    device_id: int

    LAYOUT = struct.Struct("<IHHI8sIIHHIIHHIIIIQ")

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        fields = cls.LAYOUT.unpack(payload)
        return cls(*fields[:12], *fields[13:])

    @property
    def image_problem(self) -> str | None:
        """What is wrong with the model image on the board, or None."""
        if self.image_status == ImageStatus.OK:
            return None
        return describe_image(self.image_status, self.image_detail)


class Step(NamedTuple):
    """One training step: loss in nats, cycles of each phase, if counted; `step` counts from 1 since the load.

    `structures`: filters or rows that the sample updated, for each trained layer in the image's order.
    """

    step: int
    predicted: int
    updated: bool
    loss: float
    forward_cycles: int | None
    backward_cycles: int | None
    update_cycles: int | None
    structures: tuple[int, ...]

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        step, predicted, flags, loss, forward, backward, update, *structures = _step_of(len(payload)).unpack(
            payload
        )
        return cls(step, predicted, bool(flags & 1), loss, forward, backward, update, tuple(structures))


@cache
def _step_of(n_bytes: int) -> struct.Struct:
    """Return the layout of a step's record of so many bytes: that of any network, and a count a trained layer."""
    return struct.Struct(f"{_STEP.format}{max(n_bytes - _STEP.size, 0) // 2}H")


class Evaluated(NamedTuple):
    """One forward pass without training: loss in nats, cycles if counted."""

    predicted: int
    loss: float
    forward_cycles: int | None

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        predicted, _, loss, forward = _EVALUATED.unpack(payload)
        return cls(predicted, loss, forward)


@dataclass(frozen=True, slots=True)
class Checksum:
    """CRC-32 of the trained state after `steps` samples."""

    crc32: int
    steps: int

    LAYOUT = struct.Struct("<II")

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        return cls(*cls.LAYOUT.unpack(payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaUse:
    """How many bytes the arena has, and how many of them the network takes."""

    arena_bytes: int
    arena_peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(ArenaUse):
    """Memory use in bytes, and the device's count of frames since its start."""

    stack_bytes: int
    stack_peak_bytes: int
    frames_good: int
    frames_bad: int
    duplicates: int
    overruns: int

    LAYOUT = struct.Struct("<8I")

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        stack, stack_peak, good, bad, duplicates, overruns, arena, arena_peak = cls.LAYOUT.unpack(payload)
        return cls(
            stack_bytes=stack,
            stack_peak_bytes=stack_peak,
            frames_good=good,
            frames_bad=bad,
            duplicates=duplicates,
            overruns=overruns,
            arena_bytes=arena,
            arena_peak_bytes=arena_peak,
        )


@dataclass(frozen=True, slots=True)
class Restarted:
    """The image was loaded again."""

    image_status: int
    image_detail: int

    LAYOUT = struct.Struct("<HHI")

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        status, _, detail = cls.LAYOUT.unpack(payload)
        return cls(status, detail)


@dataclass(frozen=True, slots=True)
class Sunk:
    """Frames and payload bytes received by SINK since the device's start."""

    frames: int
    payload_bytes: int

    LAYOUT = struct.Struct("<II")

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Parse the payload after `grant`."""
        return cls(*cls.LAYOUT.unpack(payload))


def split_grant(payload: bytes) -> tuple[int, bytes]:
    """Return (grant, rest) of a reply's payload."""
    return _GRANT.unpack_from(payload)[0], payload[GRANT_BYTES:]
