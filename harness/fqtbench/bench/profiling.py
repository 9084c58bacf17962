"""The steps of a profile: some as they are, then some under the board's profiler."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import count, islice
from typing import Final

from fqtbench.bench.access import Event, TrainingDevice
from fqtbench.bench.job import ProfileJob, epoch_order
from fqtbench.bench.profiler import Profiler
from fqtbench.errors import DeviceError

_COUNTERS: Final = ("forward_cycles", "backward_cycles", "update_cycles")


def profile_steps(job: ProfileJob, device: TrainingDevice, profiler: Profiler) -> Event:
    """Train, and return the event with the trace, the device's own cycle counts of each step, and its memory use."""
    samples = _samples(job)
    for _ in device.train(islice(samples, job.after)):
        pass
    profiler.begin(job.watch)
    steps = list(device.train(islice(samples, job.steps)))
    trace = profiler.end()
    if device.perturbed:
        raise DeviceError("frames were sent again while the board was profiled; profile it again")
    return {
        "event": "profile",
        "trace": trace.model_dump(mode="json"),
        "device": {name: [getattr(step, name) for step in steps] for name in _COUNTERS},
        "status": asdict(device.status()),
    }


def _samples(job: ProfileJob) -> Iterator[tuple[bytes, int]]:
    """Yield training samples in the order in which a run takes them, epoch after epoch."""
    train = job.train
    data = train.dataset.load()
    for epoch in count():
        for i in epoch_order(len(data.train_x), train.batch, train.seed, epoch):
            yield data.train_x[i].tobytes(), int(data.train_y[i])
