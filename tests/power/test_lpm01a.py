"""Promise: our driver gets an emulated Power Shield's samples through a real serial line, and says what is wrong."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Flag
from fqtbench.power.lpm01a import Lpm01a, open_instrument
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.lpm01a import EmulatedLpm01a
from tests.power.feeding import record, served

SUPPLY = Supply(volts=3.0, active_ma=5, idle_ma=1, source="test")


def profile(numbers: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Steps of 7 ms from 1 µA to 8 mA."""
    steps = np.array([1e-6, 3e-5, 4e-4, 8e-3])
    return steps[numbers // 700 % 4], np.zeros(len(numbers), dtype=np.uint8)


def opened(instrument: EmulatedLpm01a) -> Lpm01a:
    """Return the driver on its port."""
    driver = open_instrument(instrument.url.removeprefix("lpm01a:"), SUPPLY)
    assert isinstance(driver, Lpm01a)
    return driver


@pytest.fixture
def whole() -> Iterator[Lpm01a]:
    """A driver of an instrument without faults, its supply on."""
    instrument = EmulatedLpm01a()
    with served(instrument, profile):
        driver = opened(instrument)
        driver.supply(True)
        yield driver
        driver.close()


@pytest.mark.timeout(60)
def test_samples_arrive_with_their_numbers_twice_in_a_row(whole: Lpm01a) -> None:
    for _ in range(2):
        chunks = record(whole, 20_000)
        at = 0
        for chunk in chunks:
            assert chunk.first == at and not chunk.flags.any() and not chunk.digital.any()
            np.testing.assert_allclose(
                chunk.current_a, profile(np.arange(at, at + len(chunk)))[0], rtol=0.0021
            )
            at += len(chunk)
        assert at >= 20_000 and at % 1000 == 0
    assert whole.read(0.01) == []
    assert whole.calibration_fault() is None
    assert whole.model_id == "LPM01A 540619864-1110659081-4784204, firmware 1.0.6"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "faults", [Faults(lose=1e-3, seed=1), Faults(double=1e-3, seed=2), Faults(tear=1e-3, seed=3)]
)
def test_damaged_words_are_noticed_and_all_others_right(faults: Faults) -> None:
    instrument = EmulatedLpm01a(faults)
    with served(instrument, profile):
        driver = opened(instrument)
        driver.supply(True)
        lost = 0
        for chunk in record(driver, 50_000):
            good = chunk.flags == 0
            assert (chunk.flags[~good] == Flag.LOST).all()
            expected_a = profile(np.arange(chunk.first, chunk.first + len(chunk)))[0]
            np.testing.assert_allclose(chunk.current_a[good], expected_a[good], rtol=0.0021)
            lost += int((~good).sum())
        assert lost >= 1000
        driver.close()


@pytest.mark.timeout(60)
def test_a_board_without_supply_takes_nothing_and_a_sick_instrument_says_so() -> None:
    instrument = EmulatedLpm01a(Faults(miscalibrated=True))
    with served(instrument, profile):
        driver = opened(instrument)
        assert "reports 'error: calibration'; " in str(driver.calibration_fault())
        assert not any(chunk.current_a.any() for chunk in record(driver, 2000))
        driver.close()
        driver.close()


def test_a_port_that_is_not_there_and_a_voltage_that_it_has_not_are_named() -> None:
    with pytest.raises(MonitorError, match=r"LPM01A /dev/no-such-port can't be opened"):
        open_instrument("/dev/no-such-port", SUPPLY)
    with pytest.raises(
        MonitorError, match=r"supplies 1.8 to 3.3 V, the board wants 5 V; use another monitor"
    ):
        open_instrument("/dev/x", SUPPLY.model_copy(update={"volts": 5.0}))
    with pytest.raises(MonitorError, match=r"wants its serial port"):
        open_instrument("", SUPPLY)


@pytest.mark.timeout(60)
def test_an_acquisition_that_ends_by_itself_is_an_error(whole: Lpm01a) -> None:
    whole.start()
    whole._write("stop")  # as the instrument does when its buffer has run over
    with pytest.raises(MonitorError, match=r"ended its acquisition by itself"):
        while whole.read(10):
            pass


@pytest.mark.timeout(60)
def test_a_refused_command_is_quoted(whole: Lpm01a) -> None:
    with pytest.raises(MonitorError, match=r"refused `freq 3k`"):
        whole._command("freq 3k")


@pytest.mark.timeout(60)
def test_an_instrument_that_is_unplugged_is_gone() -> None:
    instrument = EmulatedLpm01a()
    with served(instrument, profile):
        driver = opened(instrument)
        driver.start()
        assert driver.read(10)
    with pytest.raises(MonitorError, match=r"is gone: .*; check its cable"):
        while driver.read(1):
            pass
    driver.close()


@pytest.mark.timeout(60)
def test_the_supply_is_not_switched_while_it_records(whole: Lpm01a) -> None:
    whole.start()
    with pytest.raises(MonitorError, match="takes no `pwr off` while it records; stop it first"):
        whole.supply(False)
    whole.stop()
    while whole.read(10):
        pass
    whole.supply(False)
