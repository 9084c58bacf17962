"""What an instrument sees of a board, live; and whether the board's trigger pin is wired to it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from typing import Final

from fqtbench.bench.access import Emit, Event
from fqtbench.bench.job import PowerJob
from fqtbench.board import BoardModel
from fqtbench.errors import DeviceError, LinkError, UsageError
from fqtbench.power import Monitor, Sampling
from fqtbench.power.instrument import trigger_fault
from fqtbench.power.modelled import ModelledMonitor
from fqtbench.power.tap import Tap
from fqtbench.wire import Device, SerialLine

_LOOK_S: Final = 0.25
EVALUATIONS: Final = 8
"""So many windows must come; a floating input rarely makes just that many."""
OpenLine = Callable[[], AbstractContextManager[SerialLine]]


def watch_power(
    monitor: Monitor | None, job: PowerJob, model: BoardModel, open_line: OpenLine, emit: Emit
) -> None:
    """Send an event ``power_sight`` every so often for `job.seconds`, then, if asked for, one ``wiring``.

    Of a board whose power is modelled: one ``power_model``, with the model's two powers. Raises MonitorError;
    UsageError if the monitor has no samples, or if the trace can't be written.
    """
    if isinstance(monitor, ModelledMonitor):
        powers = {f"{state}_w": monitor.power_w(state) for state in ("active", "idle")}
        emit({"event": "power_model", "model_id": monitor.model_id, **powers})
        return
    if not isinstance(monitor, Sampling):
        raise UsageError(
            "the board's power monitor gives no samples to look at; only its energies can be had"
        )
    instrument = monitor.instrument
    about: Event = {"name": instrument.name, "model_id": monitor.model_id, "rate_hz": instrument.rate_hz}
    about |= {"origin": monitor.origin, "volts": instrument.volts, "trigger": monitor.trigger}
    emit({"event": "instrument", **about})
    with ExitStack() as stack:
        stack.callback(instrument.close)
        writer = None
        if job.trace is not None:
            from fqtbench.power.trace import TraceWriter  # noqa: PLC0415  (Arrow, which few workers need)

            writer = TraceWriter(job.trace, instrument.name, instrument.rate_hz, instrument.volts)
            stack.push(writer)
        tap = Tap(instrument, monitor.trigger, writer)
        tap.start()
        end_s = time.monotonic() + job.seconds
        while time.monotonic() < end_s:
            time.sleep(min(_LOOK_S, max(end_s - time.monotonic(), 0)))
            emit({"event": "power_sight", **asdict(tap.sight())})
        if not job.wiring:
            tap.stop()
            return
        emit({"event": "wiring", **_wiring(tap, open_line, model, monitor)})


def _wiring(tap: Tap, open_line: OpenLine, model: BoardModel, monitor: Sampling) -> Event:
    fault = trigger_fault(monitor.instrument, monitor.trigger)
    if fault is None:
        return _try_wiring(tap, open_line, model, monitor.trigger)
    tap.stop()
    return _untried(fault)


def _try_wiring(tap: Tap, open_line: OpenLine, model: BoardModel, trigger: int) -> Event:
    """Have a few samples of zeros evaluated, which raises the trigger once each, and count the windows."""
    try:
        with open_line() as line:
            device = Device(line)
            hello = device.hello()
            if hello.image_problem is not None:
                raise DeviceError(hello.image_problem)
            before = tap.sight().n_windows
            zeros = (bytes(hello.sample_bytes), 0)
            n_evaluated = sum(1 for _ in device.evaluate([zeros] * EVALUATIONS))
    except (LinkError, DeviceError) as error:
        tap.stop()
        return _untried(f"{error}; `fqtbench run` puts firmware and a network on the board")
    n_windows = tap.stop() - before
    verdict, text = judge(n_evaluated, n_windows, model, trigger)
    return {"verdict": verdict, "text": text, "evaluated": n_evaluated, "windows": n_windows}


def _untried(why: str) -> Event:
    return {"verdict": "untried", "text": f"not tried: {why}", "evaluated": 0, "windows": 0}


def judge(n_evaluated: int, n_windows: int, model: BoardModel, trigger: int) -> tuple[str, str]:
    """Return the verdict, "wired", "silent" or "wrong", and what to say of it."""
    if n_windows == n_evaluated:
        return "wired", f"trigger is wired: {n_windows} windows for {n_evaluated} evaluations"
    pin = 0 if model.trigger is None else model.trigger.pin
    wire = (
        f"the board's trigger pin ({model.title}: pin {pin % 32} of port {pin // 32}) belongs to digital input "
        f"{trigger} of the instrument, ground to ground, and the inputs' supply to the board's"
    )
    if n_windows == 0:
        return "silent", f"no window for {n_evaluated} evaluations: {wire}"
    return "wrong", (
        f"{n_windows} windows for {n_evaluated} evaluations: either another signal is on input {trigger}, or it "
        f"floats, or samples are lost; {wire}"
    )
