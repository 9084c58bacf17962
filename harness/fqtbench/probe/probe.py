"""`Probe`: what a bench does with one board's debug probe."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from pyocd.core.target import Target
from pyocd.target import TARGET, normalise_target_type_name
from pyocd.target.pack.pack_target import ManagedPacks

from fqtbench.errors import FlashError, LockedError, ProbeError, UsageError
from fqtbench.probe import flashing, session
from fqtbench.probe.elf import Segment

# pyOCD's names; which one a board needs is in its description. pyOCD's "attach" would leave the core running.
CONNECT_MODES: Final = ("halt", "pre-reset", "under-reset")

# What SEGGER's tools use for the nRF52840-DK; the chip takes 8 MHz (nRF52840 PS v1.7, 4.8.1).
_SWD_HZ: Final = 4_000_000


class ProbeInfo(NamedTuple):
    """An attached probe: the id to write into a board's description, and what it calls itself.

    `target`: pyOCD's name of the chip on its board, if the probe's id tells it.
    """

    probe_id: str
    description: str
    target: str | None = None


@dataclass(frozen=True)
class FlashReport:
    """What `Probe.flash` did; bytes count whole sectors, seconds include reading back before and after."""

    programmed_bytes: int
    skipped_bytes: int
    duration_s: float


def list_probes() -> list[ProbeInfo]:
    """Return the probes on this host's USB, by id. Remote probes announce themselves to nobody."""
    with session.translated("(any)", "listing the probes"):
        return sorted(
            ProbeInfo(str(p.unique_id), str(p.description), session.target_by_id(p))
            for p in session.attached_probes()
        )


def unknown_targets(names: Iterable[str]) -> list[str]:
    """Return those of `names` that pyOCD has neither built in nor in an installed pack, sorted."""
    unknown = {name for name in names if normalise_target_type_name(name) not in TARGET}
    if unknown:
        packs = {normalise_target_type_name(d.part_number) for d in ManagedPacks.get_installed_targets()}
        unknown = {name for name in unknown if normalise_target_type_name(name) not in packs}
    return sorted(unknown)


class Probe:
    """The probe of one board, as a context manager: connected and halted inside, released after.

    `probe_id` is a probe's whole id as `list_probes` shows it (leading zeros of a decimal id don't count), or
    `remote:HOST:PORT` (IPv4). `target` is pyOCD's name of the chip, `connect_mode` one of `CONNECT_MODES`.

    On leaving, a core that runs is left without a trace of the debugger (debug off, port powered down, cycle
    counter untouched); a core that is halted stays halted. Not thread-safe.

    Every method raises `ProbeError` when the probe is missing, ambiguous, busy, lost or closed, or when the
    chip is locked or does not answer.
    """

    def __init__(self, probe_id: str, target: str, connect_mode: str = "halt", swd_hz: int = _SWD_HZ) -> None:
        if connect_mode not in CONNECT_MODES:
            raise UsageError(f"connect mode {connect_mode!r}: choose one of {', '.join(CONNECT_MODES)}")
        self._probe_id = probe_id
        self._setup = session.Setup(probe_id, target, connect_mode, swd_hz)
        self._session: Any = None  # pyocd.core.session.Session: pyOCD carries no types

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect to the probe and the chip, and halt the core. Harmless when open."""
        if self._session is None:
            self._session = session.open_session(self._setup)

    def close(self) -> None:
        """Release probe and chip; never raises, also when the probe is gone. Harmless when closed."""
        opened, self._session = self._session, None
        if opened is not None:
            session.close_session(opened)

    def flash(
        self, segments: Sequence[Segment], progress: Callable[[float], None] | None = None
    ) -> FlashReport:
        """Make the chip's flash hold `segments`, and leave the core halted.

        Sectors that already hold them, by read-back, are not touched. The others are erased, programmed and
        compared by reading back; bytes of a sector outside the segments are kept. `progress` gets rising
        fractions, 0 to 1. Raises `ImageError` when a segment does not lie within flash or two overlap, and
        `FlashError` when programming fails or the read-back differs: that may be tried again.
        """
        start_s = time.monotonic()
        with self._target("programming") as target:
            target.halt()
            programmed, skipped = flashing.program(self._session, segments, progress)
        return FlashReport(programmed, skipped, time.monotonic() - start_s)

    def reset(self) -> None:
        """Reset the chip and let it run."""
        with self._target("reset") as target:
            target.reset()

    def reset_and_halt(self) -> None:
        """Reset the chip and stop it before its first instruction."""
        with self._target("reset and halt") as target:
            target.reset_and_halt()
            self._require_halted(target)

    def halt(self) -> None:
        """Stop the core."""
        with self._target("halt") as target:
            target.halt()
            self._require_halted(target)

    def resume(self) -> None:
        """Let the core run on."""
        with self._target("resume") as target:
            target.resume()

    def read_memory(self, address: int, size: int) -> bytes:
        """Return `size` bytes from `address` on."""
        with self._target(f"reading {size} bytes at {address:#010x}") as target:
            return flashing.read(target, address, size)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write `data` to RAM or peripherals from `address` on; flash is written by `flash`."""
        with self._target(f"writing {len(data)} bytes at {address:#010x}") as target:
            target.write_memory_block8(address, list(data))

    def recover(self) -> None:
        """Erase the whole chip, user configuration included, and unlock it. Whoever calls this consents.

        Works on an open probe and on a closed one, which it leaves as it found it; a locked chip can only be
        recovered while closed, because opening it fails.
        """
        was_open = self._session is not None
        self.close()
        try:
            self.open()
        except LockedError:
            # pyOCD erases and unlocks a locked chip while connecting, if it may.
            session.close_session(session.open_session(self._setup, erase_if_locked=True))
        else:
            try:
                self._erase_unlocked()
            finally:
                self.close()
        if was_open:
            self.open()

    def _erase_unlocked(self) -> None:
        with self._target("mass erase") as target:
            if target.mass_erase() is False:  # pyOCD's other chips return None
                raise FlashError(f"probe {self._probe_id}: mass erase timed out; power-cycle the board")
            if hasattr(target, "persist_unlock"):  # nRF52: an erased UICR locks newer revisions at a reset
                target.session.options["auto_unlock"] = True
                target.persist_unlock()

    def _require_halted(self, target: Any) -> None:
        if target.get_state() != Target.State.HALTED:
            raise ProbeError(
                f"probe {self._probe_id}: the core does not halt; "
                "try connect mode under-reset, or power-cycle the board"
            )

    @contextmanager
    def _target(self, operation: str) -> Iterator[Any]:
        """Give pyOCD's target for one operation, and turn pyOCD's errors into ours."""
        if self._session is None:
            raise ProbeError(f"probe {self._probe_id}: {operation}: the probe is closed; open it first")
        with session.translated(self._probe_id, operation):
            yield self._session.target
