"""Energy per inference as MLPerf Tiny takes it: five inputs, each inferred again and again, the median of the five.

Sources: EEMBC on ULPMark-ML, by which MLPerf Tiny measures energy (https://www.eembc.org/ulpmark/ulp-ml/, Workloads:
five inputs, the median), and the manual of its runner (https://github.com/eembc/energyrunner, Selecting Energy Mode:
a pin's edges bound a run, the median of 5 runs counts). MLCommons' own runner does the same with a number of inferences
that it has for each of its networks (https://github.com/mlcommons/tiny, benchmark/runner/tests_energy.yaml). The ten
seconds and ten inferences are the bench's rule for a network that has no such number.
"""

import math
import statistics
from itertools import repeat
from typing import Any, Final

from fqtbench.bench.access import Emit, Event, TrainingDevice
from fqtbench.bench.job import EnergyProcedure
from fqtbench.bench.meter import Meter
from fqtbench.datasets import Dataset
from fqtbench.errors import DeviceError

WINDOWS: Final = 5
MIN_WINDOW_S: Final = 10.0
MIN_INFERENCES: Final = 10


def measure(
    procedure: EnergyProcedure, dataset: Dataset, device: TrainingDevice, meter: Meter, emit: Emit
) -> Event:
    """Return the event with all windows and their median; `emit` hears of each window as it begins."""
    windows = []
    for number in range(WINDOWS):
        emit({"event": "stage", "text": f"energy of inferences, window {number + 1} of {WINDOWS}"})
        windows.append(_window(number % len(dataset.test_x), procedure.window_s, dataset, device, meter))
    differs = deviations(procedure.window_s, meter.origin)
    return {
        "event": "energy_procedure",
        "procedure": procedure.procedure,
        "window_s": procedure.window_s,
        "windows": windows,
        "inference_j": statistics.median(window["inference_j"] for window in windows),
        "conforming": not differs,
        "deviations": differs,
    }


def deviations(window_s: float, origin: str | None) -> list[str]:
    """Return what about a measurement is not as the procedure wants it."""
    found = []
    if window_s < MIN_WINDOW_S:
        found.append(f"a window lasts {window_s:g} s, the procedure wants {MIN_WINDOW_S:g} s")
    if origin != "measured":
        found.append(f"the energies are {origin}, not measured")
    return found


def _window(
    sample: int, window_s: float, dataset: Dataset, device: TrainingDevice, meter: Meter
) -> dict[str, Any]:
    """Infer one sample again and again until the time in its windows, by the board's clock, is enough."""
    sample_and_label = dataset.test_x[sample].tobytes(), int(dataset.test_y[sample])
    cycles: list[int] = []
    total = 0
    meter.record(on=True)
    while missing := _missing(len(cycles), meter.seconds(total), window_s):
        for answer in device.evaluate(repeat(sample_and_label, missing)):
            if not answer.forward_cycles:
                raise DeviceError(
                    "the board answered an inference without its cycles; flash its firmware again"
                )
            cycles.append(answer.forward_cycles)
            total += answer.forward_cycles
    meter.record(on=False)
    energy_j, uncertainty_j = meter.inferences(cycles)
    return {
        "sample": sample,
        "inferences": len(cycles),
        "seconds": meter.seconds(total),
        "energy_j": energy_j,
        "uncertainty_j": uncertainty_j,
        "inference_j": energy_j / len(cycles),
    }


def _missing(n: int, seconds: float, window_s: float) -> int:
    """Return how many inferences to ask for, now that `n` have taken `seconds`: as many as should be enough."""
    if n < MIN_INFERENCES:
        return MIN_INFERENCES - n
    return max(math.ceil((window_s - seconds) / (seconds / n)), 0)
