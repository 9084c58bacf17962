"""Promise: an emulated power monitor sees what its board draws and its trigger pin, and nothing else changes."""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks.inline_board import inline_board, samples

from fqtbench.board import BoardModel
from fqtbench.probe import elf_segments
from fqtbench.virtual import __main__ as command
from fqtbench.virtual import chips, supplied
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.opening import parse_faults
from fqtbench.virtual.sampler import Sampler, Window
from fqtbench.virtual.supplied import sampler_of
from fqtbench.virtual.target import BusFault
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.wire import Step
from tests.boards import PREBUILT, VIRTUAL
from tests.virtual.chips import DeafLine
from tests.virtual.meters import TOO_MUCH, MemoryInstrument
from tests.virtual.programs import LOOPS, Program

RATE_HZ = 100_000.0
N_STEPS = 24
GAP_S = 50e-6  # firmware/app/main.c, TRIGGER_GAP_US
_FAR = 1 << 40
_SPIN = Program("end:\n    b end\n", bytes.fromhex("fee7"))  # for ever, without sleep


class Trained:
    """What a training on a board came to, and what its instrument saw of it."""

    def __init__(self, board: BoardModel, rate_hz: float | None) -> None:
        self.board = board
        self.instrument = MemoryInstrument(rate_hz)
        self.samplers: list[Sampler] = []

        def attach(chip: UartChip) -> Sampler:
            self.samplers.append(sampler_of(self.instrument, chip, board.name))
            return self.samplers[0]

        with inline_board(board=board, attach=attach) as (chip, device):
            self.steps: list[Step] = list(device.train(samples(N_STEPS)))
            self.weights = device.checksum().crc32
            self.uncertainty = chip.core.timing.uncertainty
        self.windows: list[Window] = list(self.samplers[0].windows)
        assert board.clock_hz is not None
        self.clock_hz = board.clock_hz

    def durations_s(self) -> np.ndarray:
        """Of the phases of all steps by the chip's own counter, (n,)."""
        phases = [(s.forward_cycles, s.backward_cycles, s.update_cycles) for s in self.steps]
        return np.array([cycles for step in phases for cycles in step if cycles]) / self.clock_hz


@pytest.fixture(scope="module", params=VIRTUAL, ids=lambda board: board.name)
def trained(request: pytest.FixtureRequest) -> Trained:
    return Trained(request.param, RATE_HZ)


def test_the_pin_is_high_for_each_phase(trained: Trained) -> None:
    """As long as the chip counts, but for the few instructions between counter and pin, and low between phases."""
    windows, durations_s = trained.windows, trained.durations_s()
    assert len(windows) == len(durations_s)
    high_s = np.array([w.end - w.begin for w in windows]) / trained.clock_hz
    assert np.all(high_s >= durations_s)
    assert np.all(high_s - durations_s < 2e-6)
    low_s = np.array([b.begin - a.end for a, b in pairwise(windows)]) / trained.clock_hz
    assert low_s.min() >= GAP_S * (1 - trained.uncertainty)


def test_energy_by_samples_is_the_models_own(trained: Trained) -> None:
    """Within 0.5 % for windows of 1 ms and more: mean of the samples with the pin high × the window's duration."""
    digital, current_a = trained.instrument.digital, trained.instrument.current_a
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], digital, [0]]).astype(np.int8))).reshape(-1, 2)
    assert len(bounds) == len(trained.windows)
    n_long = 0
    for (begin, end), window in zip(bounds, trained.windows, strict=True):
        duration_s = (window.end - window.begin) / trained.clock_hz
        assert abs((end - begin) / RATE_HZ - duration_s) <= 1 / RATE_HZ
        if duration_s >= 1e-3:
            n_long += 1
            assert current_a[begin:end].mean() * duration_s == pytest.approx(window.charge_c, rel=0.005)
    assert n_long or trained.board.name == "mimxrt1062", "a fast board's phases are shorter"


def test_the_mean_of_a_training_step_is_the_boards_figure(trained: Trained) -> None:
    """The weights of the model are scaled to that."""
    seconds = sum(w.end - w.begin for w in trained.windows) / trained.clock_hz
    assert trained.board.supply is not None
    mean_ma = sum(w.charge_c for w in trained.windows) / seconds * 1e3
    assert mean_ma == pytest.approx(trained.board.supply.active_ma, rel=0.01)


def test_an_instrument_changes_no_cycle_and_no_weight(trained: Trained) -> None:
    alone = Trained(trained.board, None)
    assert alone.steps == trained.steps
    assert alone.weights == trained.weights
    assert not alone.windows
    assert not len(alone.instrument.current_a)


@pytest.mark.parametrize("board", VIRTUAL, ids=lambda board: board.name)
def test_without_supply_a_board_is_dead_and_then_starts_as_at_first(board: BoardModel) -> None:
    line, instrument = DeafLine(), MemoryInstrument()
    name = board.firmware
    chip = chips.create(name, line)
    for segment in elf_segments(PREBUILT / f"{name}.elf"):
        chip.program(segment.address, segment.data)
    chip.reset(halt=False)
    chip.power(False)  # what it was made with
    chip.power(True)
    instrument.powered = False
    sampler = sampler_of(instrument, chip, board.name)
    chip.run(_FAR)
    first = line.sent
    ram = board.memory.ram_origin
    assert first, "it says that it has started"
    chip.write_memory(ram + 0x4000, b"kept?")

    sampler.service()
    assert chip.powered, "until its instrument first feeds it, from elsewhere"
    for instrument.powered in (True, False):
        sampler.service()
    now = chip.now
    assert not chip.runnable
    assert not chip.trigger
    chip.run(_FAR)
    assert (chip.now, line.sent) == (now, first)
    with pytest.raises(BusFault, match="supply"):
        chip.read_memory(ram, 4)

    instrument.powered = True
    sampler.service()
    assert chip.read_memory(ram + 0x4000, 5) == bytes(5)
    chip.run(_FAR)
    assert line.sent == 2 * first, "and gives the reason that it gave at first"
    sampler.close()


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[command.Server, MemoryInstrument]]:
    """A board that runs for ever, served in this process, on an instrument that measures."""
    flash = tmp_path / "flash.bin"
    flash.write_bytes(_SPIN.flash())
    instrument = MemoryInstrument(RATE_HZ)
    monkeypatch.setattr(supplied, "open_instrument", lambda kind, volts, faults: instrument)
    monkeypatch.setattr(
        sys, "argv", ["fqtbench virtual", "nrf52840", "--flash", str(flash), "--power", "ppk2"]
    )
    served = command.Server(command._arguments())
    yield served, instrument
    served.close()
    assert instrument.closed


def test_a_launched_board_says_where_its_instrument_is(
    server: tuple[command.Server, MemoryInstrument],
) -> None:
    assert str(server[0].addresses()["power"]).startswith("memory:?origin=modelled&model=instruction-mix/")


def test_time_stands_still_while_the_instrument_has_too_much_to_send(
    server: tuple[command.Server, MemoryInstrument],
) -> None:
    """And no sample is lost: their number is that of the time that has passed."""
    board, instrument = server
    board.turn()
    moved = board.chip.now
    assert moved > 0
    instrument.backlog_bytes = TOO_MUCH
    for _ in range(3):
        board.turn()
    assert board.chip.now == moved
    assert instrument.n_serviced >= 3, "it is looked after meanwhile"
    instrument.backlog_bytes = 0
    board.turn()
    assert board.chip.now > moved
    assert len(instrument.current_a) == board.chip.now // 640


def test_what_is_up_to_now_is_fed_before_a_command_is_obeyed() -> None:
    chip = chips.create("nrf52840", DeafLine())
    chip.program(0, LOOPS.flash())
    chip.reset(halt=False)

    class Stops(MemoryInstrument):
        def service(self) -> bool:
            assert len(self.current_a) == chip.now // 640
            self.rate_hz = None
            return super().service()

    instrument = Stops(RATE_HZ)
    sampler = sampler_of(instrument, chip, "nrf52840")
    chip.run(100_000)
    sampler.service()
    assert sampler.meter is None
    chip.run(100_000)
    sampler.feed()
    assert len(instrument.current_a) == 100_000 // 640
    sampler.close()


def test_faults_are_read_as_they_are_written() -> None:
    assert parse_faults("") == Faults()
    told = parse_faults("lose=1e-4,noise=1e-6,seed=3,miscalibrated")
    assert told == Faults(lose=1e-4, noise_a=1e-6, seed=3, miscalibrated=True)


@pytest.mark.parametrize(
    "text", ["los=1", "lose=2", "lose=-1", "lose=nan", "seed=1.5", "seed", "miscalibrated=1", "noise="]
)
def test_faults_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        parse_faults(text)


def test_the_command_says_which_fault_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fqtbench virtual", "nrf52840", "--power-faults", "loose=1"])
    with pytest.raises(SystemExit):
        command._arguments()
    assert "loose" in capsys.readouterr().err
