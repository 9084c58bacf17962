"""Boards with a debug probe and a serial line: real ones, and virtual ones, which offer the same."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fqtbench.bench.access import Emit, Event
from fqtbench.bench.job import Charge, TrainJob
from fqtbench.bench.launch import Addresses, Attachment
from fqtbench.bench.lock import ProbeLock
from fqtbench.bench.profiler import Profiler, open_profiler
from fqtbench.errors import DeviceError, ImageError, UsageError
from fqtbench.power import Monitor, open_monitor
from fqtbench.probe import Probe, Segment, elf_segments
from fqtbench.wire import Device, Hello, open_line


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

    def attach(self) -> Event:
        """Launch the board if need be, lock its probe; returns the addresses."""
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

    def monitor(self) -> Monitor | None:
        """Open the monitor at the board's address."""
        supply = self._model.supply
        return None if supply is None else open_monitor(self._addresses().power, supply)

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
        assert self._model.uart is not None, "the board model's check"
        self.flash(job.elf, job.image)
        self._emit({"event": "stage", "text": "saying hello"})
        with open_line(self._addresses().serial, self._model.uart.baud) as line:
            device = Device(line)
            hello = device.hello()
            self._check(hello, job)
            self._emit({"event": "hello", **_jsonable(asdict(hello))})
            yield device

    def obituary(self) -> str | None:
        """Return the last words of a launched command that has ended."""
        if self._attachment is None or not self._attachment.ended:
            return None
        return f"its launched command has ended: {self._attachment.last_words() or 'it said nothing'}"

    def end(self, patience_s: float) -> None:
        """End a launched board; the kernel frees the lock when this process is gone."""
        if self._attachment is not None:
            self._attachment.end(patience_s)

    def _attached(self) -> Attachment:
        if self._attachment is None:
            self._emit({"event": "stage", "text": "attaching"})
            attachment = self._resources.enter_context(Attachment(self._instance))
            lock = ProbeLock(
                attachment.addresses.probe,
                self._instance.name,
                patience_s=self._patience_s,
                on_wait=lambda text: self._emit({"event": "waiting", "text": text}),
            )
            self._resources.enter_context(lock)
            self._attachment = attachment
        return self._attachment

    def _addresses(self) -> Addresses:
        return self._attached().addresses

    def _probe(self) -> Probe:
        return Probe(self._addresses().probe, self._model.pyocd_target, self._model.connect_mode)

    def _image_segment(self, image: bytes) -> Segment:
        memory = self._model.memory
        if len(image) > memory.image_bytes:
            raise ImageError(
                f"the model image has {len(image)} bytes, board {self._model.name} has {memory.image_bytes} for it"
            )
        return Segment(memory.image_origin, image)

    def _check(self, hello: Hello, job: TrainJob) -> None:
        build_id = hello.build_id.hex()
        what = f"board {self._instance.name}"
        if hello.chip != self._model.chip_id:
            raise DeviceError(
                f"{what}: the chip on its serial line is 0x{hello.chip:08x}, not 0x{self._model.chip_id:08x}; "
                "is the serial line that of the board the probe is connected to?"
            )
        if build_id != job.build_id:
            raise DeviceError(
                f"{what}: the firmware on its serial line has build id {build_id}, just flashed was {job.build_id}; "
                "is the serial line that of the board the probe is connected to?"
            )
        if hello.image_problem is not None:
            raise DeviceError(f"{what}: {hello.image_problem}")
        if hello.image_crc != job.image_crc32:
            raise DeviceError(
                f"{what}: it loaded a model image with CRC {hello.image_crc:08x}, flashed was {job.image_crc32:08x}; "
                "flash it again"
            )


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
