"""``python -m fqtbench.virtual CHIP``: serve a virtual board until standard input closes.

The first line of output is JSON with the board's addresses, as any launched board prints it.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fqtbench.virtual import chips
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.opening import KINDS, parse_faults
from fqtbench.virtual.memory import Kind
from fqtbench.virtual.probe_server import ProbeServer
from fqtbench.virtual.profile_server import ProfileServer
from fqtbench.virtual.uart_line import Line, PtyLine, TcpLine

if TYPE_CHECKING:
    from fqtbench.virtual.sampler import Sampler

_SLICE_S: Final = 0.01  # host time after which debugger and line are served; to begin costs 0.1 ms
_SLICE_CYCLES: Final = (10_000, 5_000_000)  # bounds of what that may be in virtual time
_ENOUGH: Final = 2.0  # how much a slice may grow or shrink at once
_IDLE_S: Final = 1.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fqtbench virtual", description=__doc__)
    parser.add_argument("chip", choices=chips.names())
    parser.add_argument(
        "--probe-port", type=int, default=0, metavar="N", help="TCP port of the probe; 0 = any"
    )
    parser.add_argument("--uart", default=None, metavar="PATH", help="link to the pseudo-terminal, or `tcp`")
    parser.add_argument("--flash", type=Path, default=None, metavar="FILE", help="keep the flash in FILE")
    parser.add_argument(
        "--power",
        choices=(*KINDS, "none"),
        default="none",
        help="put the board on an emulated power monitor (docs/power.md)",
    )
    parser.add_argument(
        "--power-faults",
        type=_faults,
        default=Faults(),
        metavar="LIST",
        help="what goes wrong in it: lose=1e-4,noise=1e-6,seed=3",
    )
    parser.add_argument("--stats", action="store_true", help="print instructions and speed at the end")
    return parser.parse_args()


def _faults(text: str) -> Faults:
    try:
        return parse_faults(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _open_line(where: str | None) -> Line:
    if where == "tcp" or (where is None and sys.platform == "win32"):
        return TcpLine()
    try:
        return PtyLine(Path(where) if where else None)
    except OSError as error:
        sys.exit(f"fqtbench virtual: can't publish the UART: {error}; choose another --uart")


class Server:
    """A chip, its probe and its line, served in turn."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._flash_file: Path | None = arguments.flash
        self._stats = arguments.stats
        self._model = arguments.chip
        self.line = _open_line(arguments.uart)
        self.chip = chips.create(arguments.chip, self.line)
        self._flash = self.chip.memory.of(Kind.FLASH)[0]
        if self._flash_file is not None and self._flash_file.exists():
            self.chip.program(self._flash.base, self._flash_file.read_bytes()[: self._flash.size])
            self.chip.reset(halt=False)
        try:
            self.probe = ProbeServer(self.chip, arguments.probe_port)
        except OSError as error:
            self.line.close()
            sys.exit(
                f"fqtbench virtual: can't listen on port {arguments.probe_port}: {error}; "
                "choose another --probe-port"
            )
        self.profiler = ProfileServer(self.chip)
        self.power_url = "modelled:"
        self.sampler: Sampler | None = None
        if arguments.power != "none":
            self._put_on(arguments.power, arguments.power_faults)
        self._slice_cycles = 400_000
        self._busy_s = 0.0
        self._backlog = False  # somebody needs an answer, without having to ask again
        self._closing = threading.RLock()  # a signal may come while its own thread closes
        self._closed = False

    def _put_on(self, kind: str, faults: Faults) -> None:
        """Put the board on an emulated power monitor."""
        from fqtbench.virtual.supplied import supplied_by  # noqa: PLC0415 - slow to load, and rarely asked for

        try:
            self.sampler, instrument = supplied_by(kind, faults, self.chip, self._model)
        except OSError as error:
            self.line.close()
            sys.exit(f"fqtbench virtual: can't publish the power monitor: {error}; choose another --power")
        separator = "&" if "?" in instrument.url else "?"
        self.power_url = f"{instrument.url}{separator}origin=modelled&model={quote(self.sampler.model.name)}"

    def addresses(self) -> dict[str, str | float]:
        """Return what a launched board says of itself."""
        return {
            "probe": self.probe.probe_id,
            "serial": self.line.url,
            "profiler": self.profiler.url,
            "power": self.power_url,
            "cycles": "modelled",
            "timing_model_id": self.chip.core.timing.model_id,
            "cycles_uncertainty": self.chip.core.timing.uncertainty,
            "model": self._model,
            "unique_id": f"{self.chip.unique_id:016x}",
        }

    def serve(self) -> None:
        """Run the chip and answer, for ever."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Answer whoever wants something, and run the chip for a slice; wait for somebody if it can't run."""
        waits = not (self._backlog or self._runs)
        callers = self._callers(_IDLE_S if waits else 0.0)
        if not self._backlog and callers and callers <= {*self.line.readers(), *self.line.writers()}:
            self.chip.poll_line()  # while a board trains it is nearly always its host alone
        elif callers or self._backlog:
            self._backlog = self._answer()
        if self._runs:
            self._run_slice()

    @property
    def _runs(self) -> bool:
        """Whether virtual time goes on; not while the power monitor's host is behind, lest it loses samples."""
        return self.chip.runnable and not (self.sampler and self.sampler.holds)

    def _callers(self, timeout_s: float) -> set[socket.socket | int]:
        """Return who wants something; one look for all, since mostly nobody does between two slices."""
        readers: list[socket.socket | int] = [*self.probe.readers(), *self.profiler.readers()]
        writers: list[socket.socket | int] = [*self.probe.writers(), *self.line.writers()]
        readers += self.line.readers()
        if self.sampler is not None:
            readers += self.sampler.readers()
            writers += self.sampler.writers()
        ready, writable, _ = select.select(readers, writers, (), timeout_s)
        return {*ready, *writable}

    def _answer(self) -> bool:
        """Serve probe, line, profiler and power monitor in this order; return whether one needs it again at once."""
        backlog = self.probe.service()
        self.chip.poll_line()
        backlog |= self.profiler.service()
        return backlog if self.sampler is None else self.sampler.service() or backlog

    def _run_slice(self) -> None:
        """Run the chip for about `_SLICE_S`; where slices end changes nothing in virtual time."""
        begin, cycles = time.perf_counter(), self.chip.now
        self.chip.run(self._slice_cycles)
        if self.sampler is not None:
            self.sampler.feed()
        elapsed_s = time.perf_counter() - begin
        self._busy_s += elapsed_s
        if self.chip.now - cycles < self._slice_cycles:
            return  # it did not last to its end: nothing to learn from
        change = min(max(_SLICE_S / max(elapsed_s, 1e-6), 1 / _ENOUGH), _ENOUGH)
        low, high = _SLICE_CYCLES
        self._slice_cycles = min(max(int(self._slice_cycles * change), low), high)

    def close(self) -> None:
        """Keep the flash if asked to; remove what was published. Only the first call does anything.

        Another thread's waits for it: what is unpublished fails under the thread that serves, and its end is the
        process's.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                self._close()

    def _close(self) -> None:
        if self._flash_file is not None:
            self._keep_flash(self._flash_file)
        self.line.unpublish()
        if self.sampler is not None:
            self.sampler.unpublish()
        if self._stats:
            cpu = self.chip.cpu
            rate = cpu.instructions / self._busy_s / 1e6 if self._busy_s else 0.0
            text = f"{cpu.instructions} instructions, {cpu.now} cycles, {self._busy_s:.3f} s, {rate:.1f} MIPS"
            print(text, file=sys.stderr, flush=True)

    def _keep_flash(self, file: Path) -> None:
        """Write all of it or nothing, whenever the process is ended."""
        whole = file.with_name(f"{file.name}.tmp")
        whole.write_bytes(self.chip.read_memory(self._flash.base, self._flash.size))
        whole.replace(file)


def _end_with_stdin(server: Server) -> None:
    while os.read(0, 4096):
        pass
    server.close()
    os._exit(0)


def main() -> None:
    """Serve until standard input closes, SIGINT or SIGTERM."""
    arguments = _arguments()
    server = Server(arguments)

    def stop(*_: object) -> None:
        server.close()
        os._exit(0)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    print(json.dumps(server.addresses()), flush=True)
    threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
    try:
        server.serve()
    finally:
        server.close()


if __name__ == "__main__":
    main()
