"""Boards with a debug probe and a serial line: real ones, and virtual ones, which offer the same."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, assert_never

from fqtbench.bench.access import Emit, Event
from fqtbench.bench.job import Charge, ExamineJob, PowerJob, TrainJob
from fqtbench.bench.launch import Addresses, Attachment
from fqtbench.bench.lock import ProbeLock
from fqtbench.bench.place import Place
from fqtbench.bench.ports import find_port
from fqtbench.bench.power_cycle import PowerCycleCommand
from fqtbench.bench.power_watch import watch_power
from fqtbench.bench.profiler import Profiler, open_profiler
from fqtbench.bench.recovery import Rung
from fqtbench.errors import (
    BoardError,
    CalibrationError,
    DeviceError,
    FqtbenchError,
    ImageError,
    LockedError,
    ProbeError,
    UsageError,
    WrongDeviceError,
)
from fqtbench.power import Calibrated, Monitor, Sampling, SupplySwitch, closing, open_monitor
from fqtbench.power.instrument import trigger_fault
from fqtbench.probe import Probe, Segment, elf_segments
from fqtbench.wire import Device, Hello, SerialLine, open_line

_RETURN_S: Final = 3.0  # a USB probe that was plugged in again has enumerated by then
_POWER_UP_S: Final = 15.0  # behind a hub, and with a boot loader of its own
_RETURN_POLL_S: Final = 0.5
_LATE_S: Final = 0.5  # events leave once a second
_DYING_S: Final = 0.2  # the line breaks a moment before the command that served it is gone


class WiredAccess:
    """A board behind a probe and a line. Implements `BoardAccess`.

    The probe's lock and a launched board are held to the end, so that the next run finds the firmware that the last
    one flashed.
    """

    def __init__(self, charge: Charge, emit: Emit) -> None:
        self._instance, self._model = charge.instance, charge.model
        self._patience_s = charge.patience_s
        self._emit = emit
        self._resources = ExitStack()
        self._attachment: Attachment | None = None
        self._held = False
        self._switching: PowerCycleCommand | None = None

    def attach(self) -> Event:
        """Book the board's place if it has one, launch it if need be, lock its probe; returns the addresses."""
        return self._attached().addresses.model_dump()

    def flash(self, elf: Path, image: Path | None) -> None:
        """Program and verify what isn't there already, then reset."""
        segments = list(elf_segments(elf))
        if image is not None:
            segments.append(self._image_segment(image.read_bytes()))
        self._emit({"event": "stage", "text": "flashing"})
        with self._probe() as probe:
            report = probe.flash(segments)
            probe.reset()
        self._emit({"event": "flashed", **asdict(report)})

    def reset(self) -> None:
        """Reset the chip and let it run."""
        with self._probe() as probe:
            probe.reset()

    def recover(self) -> None:
        """Erase the whole chip, which also opens a locked one; a probe can't be opened on that before."""
        self._probe().recover()

    def restore(self, rung: Rung) -> None:
        """Take a rung; all but the last leave the chip reset and running.

        What went away may be about to come back, a plug or a probe that enumerates anew: it is waited for.
        """
        match rung:
            case Rung.FRESH_WORKER:
                return
            case Rung.RESET:
                self._reset_when_back(self._model.connect_mode, _RETURN_S)
            case Rung.CONNECT_UNDER_RESET:
                self._reset_when_back("under-reset", _RETURN_S)
            case Rung.POWER_CYCLE:
                self._power_cycle()
                self._reset_when_back(self._model.connect_mode, _POWER_UP_S)
            case Rung.RECOVER:
                self.recover()
            case _:
                assert_never(rung)

    def _reset_when_back(self, connect_mode: str, patience_s: float) -> None:
        late_at_s = time.monotonic() + patience_s
        while True:
            try:
                with self._probe(connect_mode) as probe:
                    probe.reset()
                return
            except LockedError:
                raise
            except ProbeError:
                if time.monotonic() >= late_at_s:
                    raise
            time.sleep(_RETURN_POLL_S)

    def _power_cycle(self) -> None:
        """By the monitor, if the supply goes through it, or by the board's own command."""
        monitor = self.monitor()
        with closing(monitor):
            if isinstance(monitor, SupplySwitch):
                monitor.power_cycle()
            elif self._instance.power_cycle is not None:
                self._switching = PowerCycleCommand(self._instance.power_cycle, self._instance.name)
                self._switching.run()
            else:
                raise UsageError(f"board {self._instance.name}: nothing is there that could cycle its power")

    def examine(self, job: ExamineJob) -> None:
        """Open the monitor; connect, compare the firmware, reset; then see who answers on the line.

        A chip without the firmware has nobody who could answer: its line is only opened.
        """
        self._examine_monitor()
        try:
            flashed = self._examine_chip(job)
        except (BoardError, UsageError) as error:
            self._tried("probe", error)
            return
        self._tried("probe")
        part = "port"
        try:
            with self._line() as line:
                self._tried(part)
                part = "line"
                if flashed:
                    self._check_firmware(Device(line).hello(), job.build_id)
        except BoardError as error:
            self._tried(part, error)
            return
        if flashed:
            self._tried(part)
        else:
            text = f"the firmware on the chip is not the one of this fqtbench (build id {job.build_id})"
            self._tried("firmware", DeviceError(text))

    def _examine_monitor(self) -> None:
        try:
            monitor = self.monitor()
            if monitor is None:
                return
            with closing(monitor):
                fault = monitor.calibration_fault() if isinstance(monitor, Calibrated) else None
                blind = (
                    trigger_fault(monitor.instrument, monitor.trigger)
                    if isinstance(monitor, Sampling)
                    else None
                )
                monitor.stop()
        except (BoardError, UsageError) as error:
            self._tried("monitor", error)
            return
        if fault is not None:
            self._tried("monitor", CalibrationError(fault))
        else:
            self._tried("monitor", None if blind is None else UsageError(blind))

    def _examine_chip(self, job: ExamineJob) -> bool:
        """Return whether the chip has the firmware; program it if the job says so. The chip is reset."""
        segments = list(elf_segments(job.elf))
        with self._probe() as probe:
            if job.program:
                probe.flash(segments)
            same = all(probe.read_memory(s.address, len(s.data)) == s.data for s in segments)
            probe.reset()
        return same

    def _tried(self, part: str, error: FqtbenchError | None = None) -> None:
        failure = {} if error is None else {"class": type(error).__name__, "message": str(error)}
        self._emit({"event": "tried", "part": part, **failure})

    def monitor(self) -> Monitor | None:
        """Open the monitor at the board's address."""
        supply = self._model.supply
        return None if supply is None else open_monitor(self._addresses().power, supply)

    def watch_power(self, job: PowerJob) -> None:
        """Look at the monitor; the chip goes on with what it does."""
        monitor = self.monitor()
        with closing(monitor):
            watch_power(monitor, job, self._model, self._line, self._emit)

    def profiler(self) -> AbstractContextManager[Profiler]:
        """Open the profiler at the board's address."""
        url = self._addresses().profiler
        if url is None:
            raise UsageError(
                f"board {self._instance.name}: its launched command printed no `profiler` address"
            )
        return open_profiler(url)

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[Device]:
        """Flash, open the serial line, and make sure who is at its end."""
        self.flash(job.elf, job.image)
        self._emit({"event": "stage", "text": "saying hello"})
        with self._line() as line:
            device = Device(line, late_s=_LATE_S)
            hello = device.hello()
            self._check(hello, job)
            self._emit({"event": "hello", **_jsonable(asdict(hello))})
            yield device

    def obituary(self) -> str | None:
        """Return the last words of a launched command that has ended."""
        if self._attachment is None or not self._attachment.has_ended(_DYING_S):
            return None
        return f"its launched command has ended: {self._attachment.last_words() or 'it said nothing'}"

    def end(self, patience_s: float) -> None:
        """End a launched board and a power cycle; the kernel frees the lock when this process is gone."""
        if self._switching is not None:
            self._switching.end(patience_s)
        if self._attachment is not None:
            self._attachment.end(patience_s)

    def _attached(self) -> Attachment:
        if self._attachment is None or not self._held:
            self._emit({"event": "stage", "text": "attaching"})
            if self._instance.place is not None:
                self._resources.enter_context(Place(self._instance, self._patience_s, self._tell_waiting))
            self._attachment = Attachment(self._instance)  # known to `end` while it launches
            self._resources.enter_context(self._attachment)
            lock = ProbeLock(
                self._attachment.addresses.probe,
                self._instance.name,
                patience_s=self._patience_s,
                on_wait=self._tell_waiting,
            )
            self._resources.enter_context(lock)
            self._held = True
        return self._attachment

    def _tell_waiting(self, text: str) -> None:
        self._emit({"event": "waiting", "text": text})

    def _addresses(self) -> Addresses:
        return self._attached().addresses

    def _line(self) -> SerialLine:
        """Look the port up each time: one on the chip's own USB comes anew with each reset."""
        assert self._model.uart is not None, "the board model's check"
        return open_line(find_port(self._addresses().serial), self._model.uart.baud)

    def _probe(self, connect_mode: str | None = None) -> Probe:
        mode = connect_mode or self._model.connect_mode
        return Probe(self._addresses().probe, self._model.pyocd_target, mode)

    def _image_segment(self, image: bytes) -> Segment:
        memory = self._model.memory
        if len(image) > memory.image_bytes:
            raise ImageError(
                f"the model image has {len(image)} bytes, board {self._model.name} has {memory.image_bytes} for it"
            )
        return Segment(memory.image_origin, image)

    def _check(self, hello: Hello, job: TrainJob) -> None:
        self._check_firmware(hello, job.build_id)
        what = f"board {self._instance.name}"
        if hello.image_problem is not None:
            raise DeviceError(f"{what}: {hello.image_problem}")
        if hello.image_crc != job.image_crc32:
            raise DeviceError(
                f"{what}: it loaded a model image with CRC {hello.image_crc:08x}, flashed was {job.image_crc32:08x}; "
                "flash it again"
            )

    def _check_firmware(self, hello: Hello, flashed: str) -> None:
        build_id = hello.build_id.hex()
        what = f"board {self._instance.name}"
        if hello.chip != self._model.chip_id:
            raise WrongDeviceError(
                f"{what}: the chip on its serial line is 0x{hello.chip:08x}, not 0x{self._model.chip_id:08x}; "
                "is the serial line that of the board the probe is connected to?"
            )
        if build_id != flashed:
            raise WrongDeviceError(
                f"{what}: the firmware on its serial line has build id {build_id}, the one in its flash {flashed}; "
                "is the serial line that of the board the probe is connected to?"
            )


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
