"""One run of the tiny suite on the reference in this process, recorded: everything real but board and instrument."""

from pathlib import Path
from typing import Any

from fqtbench.bench.execute import Execution
from fqtbench.board import load_models
from fqtbench.experiment import provenance
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.record import Recorder
from fqtbench.experiment.spec import load_suite
from fqtbench.power import Monitor, open_monitor
from tests.experiment import suites
from tests.experiment.standin_worker import ReferenceDevice

MODEL = load_models()["nrf52840"]


def plan(folder: Path, **changes: Any) -> Run:
    """Return the tiny suite's only run, with keys of the suite changed."""
    folder.mkdir(parents=True, exist_ok=True)
    (run,) = plan_runs(load_suite(suites.write(folder, suites.tiny(**changes))), [MODEL])
    return run


def modelled() -> Monitor:
    """Return the monitor that needs no instrument."""
    assert MODEL.supply is not None
    return open_monitor("modelled:", MODEL.supply)


def record(run: Run, monitor: Monitor, folder: Path) -> dict[str, bytes]:
    """Do the run, and return the files that it leaves behind."""
    image = folder / "image.bin"
    image.write_bytes(run.compiled.image)
    recorder = Recorder(run, "board")
    device = ReferenceDevice(run.compiled.image)
    recorder.add(
        {"event": "attached", "probe": "p", "serial": "s", "cycles": "measured", "timing_model_id": None}
    )
    recorder.add({"event": "hello", "device_id": 0})
    job = run.job(image)
    Execution(job, job.dataset.load(), run.model, device, monitor, recorder.add).run()
    status = {**vars_of(device), "perturbed": False, "retransmissions": 0}
    recorder.add({"event": "status", **status})
    recorder.add({"event": "power", "origin": monitor.origin, "model_id": monitor.model_id})
    return recorder.files(provenance.environment())


def vars_of(device: ReferenceDevice) -> dict[str, Any]:
    """Return the fields of its status."""
    status = device.status()
    return {name: getattr(status, name) for name in type(status).__dataclass_fields__}
