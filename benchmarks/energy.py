"""Energy of training phases through an emulated power monitor, and the power model's own integral of them.

Every virtual board trains on an emulated instrument whose driver is the bench's own: current in virtual time becomes
words of the instrument's protocol, and these an energy per window of the trigger pin again. The other side adds up what
the model charges each block between the pin's edges, without samples.

``python -m benchmarks.energy [KIND]``, by default ppk2.
"""

import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.inline_board import SAMPLES, inline_board, samples
from benchmarks.promise import Promise, keep
from fqtbench.board import BoardModel, load_models
from fqtbench.power import open_monitor
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.opening import open_instrument
from fqtbench.virtual.sampler import Sampler
from fqtbench.virtual.supplied import sampler_of
from fqtbench.virtual.uart_chip import UartChip

BOUND: Final = 0.005
SHORTEST_S: Final = 1e-3
_STEPS: Final = 40
_NETWORK: Final[dict[str, Any]] = {  # large enough that phases last 1 ms on the fastest board
    "layers": [
        {"type": "conv2d", "filters": 16},
        {"type": "max_pool"},
        {"type": "conv2d", "filters": 32},
        {"type": "max_pool"},
        {"type": "flatten"},
        {"type": "fully_connected", "units": 10, "activation": "linear"},
    ]
}


def _image() -> bytes:
    network = NetworkSpec.model_validate(_NETWORK)
    x, y = SAMPLES.train_x[:32], SAMPLES.train_y[:32]
    memory = Memory(0xC0000, 180_000)
    return compile_model(network, TrainingSpec(), x, y, 10, memory, seed=1, n_steps=1000).image


def deviations(kind: str, board: BoardModel, image: bytes) -> NDArray[np.float64]:
    """Return measured / modelled - 1 of each window of `SHORTEST_S` or more on an instrument of `kind`, (n,)."""
    assert board.supply is not None
    assert board.clock_hz is not None
    instrument = open_instrument(kind, board.supply.volts, Faults())
    samplers: list[Sampler] = []

    def attach(chip: UartChip) -> Sampler:
        samplers.append(sampler_of(instrument, chip, board.name))
        return samplers[0]

    with inline_board(image, board, attach) as (_, device):
        monitor = open_monitor(f"{instrument.url}?origin=modelled", board.supply)
        device.hello()  # anew, if opening the instrument has cycled the supply
        monitor.start()
        steps = list(device.train(samples(_STEPS)))
        monitor.stop()
        phases = [c for s in steps for c in (s.forward_cycles, s.backward_cycles, s.update_cycles) if c]
        durations_s = np.array(phases) / board.clock_hz
        measured_j = monitor.window_energies_j(durations_s, "active")
    modelled_j = np.array([window.charge_c for window in samplers[0].windows]) * board.supply.volts
    return (measured_j / modelled_j - 1)[durations_s >= SHORTEST_S]


def main() -> None:
    """Compare on all virtual boards."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "ppk2"
    image = _image()
    worst, n_windows = 0.0, 0
    for board in load_models().values():
        if not board.virtual:
            continue
        off = np.abs(deviations(kind, board, image))
        if not len(off):
            raise SystemExit(f"energy: no phase on {board.title} lasts {SHORTEST_S} s; use a larger network")
        print(
            f"{board.title}: {len(off)} windows, at most {off.max():.3%} off, median {np.median(off):.3%}",
            flush=True,
        )
        worst, n_windows = max(worst, float(off.max())), n_windows + len(off)
    keep(
        "energy" if kind == "ppk2" else f"energy-{kind}",
        Promise(
            order=50,
            what=f"energy of a phase of 1 ms or more through the emulated {kind}, off the power model's own integral",
            bound=f"≤ {BOUND:.1%}",
            value=f"{worst:.2%} (worst of {n_windows} windows on all virtual boards)",
            kept=worst <= BOUND,
            command=f"python -m benchmarks.energy{'' if kind == 'ppk2' else ' ' + kind}",
        ),
    )


if __name__ == "__main__":
    main()
