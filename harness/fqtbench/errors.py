"""The errors of fqtbench, split by who must act.

Every message names the object, the operation and the next step, in one line; a command prints that
line and ends with the class's exit code.
"""

from typing import ClassVar


class FqtbenchError(Exception):
    """Root of every error that fqtbench raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(FqtbenchError):
    """The suite or the command line is wrong: its author must act."""

    exit_code: ClassVar[int] = 2


class ImageError(UsageError):
    """A network, image or memory plan is malformed or does not fit the board."""


class ResultError(FqtbenchError):
    """A results folder can't be read, written or continued."""


class LabError(FqtbenchError):
    """A lab's scheduler or host is gone, is another fqtbench's, or can't be trusted: whoever runs the lab must act."""

    exit_code: ClassVar[int] = 3


class RegressionError(FqtbenchError):
    """What was measured is worse than its baseline allows, or differs when it is repeated."""

    exit_code: ClassVar[int] = 1


class UndecidedError(FqtbenchError):
    """Results can't be compared, or say too little for a verdict: more or other runs are needed."""

    exit_code: ClassVar[int] = 2


class BoardError(FqtbenchError):
    """Something on the bench is wrong: whoever has hands on the board must act."""

    exit_code: ClassVar[int] = 3


class ProbeError(BoardError):
    """The debug probe is missing, ambiguous, busy or lost."""


class LockedError(ProbeError):
    """The chip's access port protection keeps the debugger out; only erasing all of it opens it."""


class BusyError(ProbeError):
    """Somebody else uses the probe, and has been waited for."""


class FlashError(BoardError):
    """Programming or verifying failed."""


class LinkError(BoardError):
    """The serial line is missing, busy, silent or too noisy."""


class DeviceError(BoardError):
    """The firmware answered, and what it said is an error."""


class WrongDeviceError(DeviceError):
    """Another chip, another firmware or other arithmetic than it should be; trying again would hide it."""


class MonitorError(BoardError):
    """The power monitor is missing or busy, or lost what it should have recorded."""


class CalibrationError(BoardError):
    """The power monitor is there, but its figures can't be trusted before it is calibrated."""


class LaunchError(BoardError):
    """The command that brings the board failed."""


class WorkerError(BoardError):
    """The process in charge of the board died."""


class DeadlineError(BoardError):
    """What the board had to do was not done in time."""
