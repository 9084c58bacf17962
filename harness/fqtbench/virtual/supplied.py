"""A virtual board on an emulated power monitor, by the figures of its board model."""

from fqtbench.board import BoardModel, Supply, load_models
from fqtbench.virtual.chip import Chip
from fqtbench.virtual.instruments.instrument import EmulatedInstrument, Faults
from fqtbench.virtual.instruments.opening import open_instrument
from fqtbench.virtual.power_model import PowerModel
from fqtbench.virtual.sampler import Sampler


def supplied_by(kind: str, faults: Faults, chip: Chip, name: str) -> tuple[Sampler, EmulatedInstrument]:
    """Put `chip`, of the board model `name`, on an instrument of `kind`; OSError if its port can't be opened."""
    instrument = open_instrument(kind, _board_of(name)[1].volts, faults)
    return sampler_of(instrument, chip, name), instrument


def sampler_of(instrument: EmulatedInstrument, chip: Chip, name: str) -> Sampler:
    """Return what feeds `instrument` with what `chip`, of the board model `name`, draws."""
    board, supply = _board_of(name)
    assert board.clock_hz is not None
    model = PowerModel(supply.active_ma, supply.idle_ma, supply.source, board.core)
    return Sampler(chip, instrument, model, board.clock_hz)


def _board_of(name: str) -> tuple[BoardModel, Supply]:
    board = load_models()[name]
    assert board.supply is not None, "every board with a chip states its supply"
    return board, board.supply
