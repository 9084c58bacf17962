"""Promise: the vendor's client, unmodified, and our driver over it, record from an emulated Otii what a board took."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.otii import Otii, open_instrument
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.otii import EmulatedOtii
from tests.power.feeding import record, served

SUPPLY = Supply(volts=3.0, active_ma=5, idle_ma=1, source="test")
otii_client = pytest.importorskip("otii_tcp_client.otii_client")


def profile(numbers: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return windows of 40 samples, one in 100, with 5 mA; 1 mA else."""
    level = (numbers % 100 >= 60).astype(np.uint8)
    return np.where(level, 5e-3, 1e-3), level


def opened(instrument: EmulatedOtii, name: str = "") -> Otii:
    """Return the driver at its address."""
    driver = open_instrument(instrument.url.removeprefix("otii:") + name, SUPPLY)
    assert isinstance(driver, Otii)
    return driver


@pytest.fixture(params=["Arc", "Ace"])
def driver(request: pytest.FixtureRequest) -> Iterator[Otii]:
    """A driver of an instrument without faults, its supply on."""
    instrument = EmulatedOtii(kind=request.param)
    with served(instrument, profile):
        driver = opened(instrument)
        driver.supply(True)
        yield driver
        driver.close()
        driver.close()


@pytest.mark.timeout(120)
def test_samples_arrive_with_voltage_and_trigger_twice_in_a_row(driver: Otii) -> None:
    assert driver.rate_hz == (4000 if "Arc" in driver.name else 50_000)
    for _ in range(2):
        at = 0
        for chunk in record(driver, 20_000):
            current_a, level = profile(np.arange(at, at + len(chunk)))
            assert chunk.first == at and not chunk.flags.any() and chunk.volts is not None
            np.testing.assert_allclose(chunk.current_a, current_a, rtol=1e-6)
            np.testing.assert_array_equal(chunk.digital, level)
            assert (chunk.volts == 3.0).all()
            at += len(chunk)
        assert at >= 20_000
    assert driver.read(0.01) == []
    assert driver.calibration_fault() is None
    assert "firmware 3.5.5" in driver.model_id


@pytest.mark.timeout(60)
def test_the_client_alone_measures_and_gives_the_licence_back() -> None:
    instrument = EmulatedOtii(kind="Arc")
    host, port = instrument.url.split(":")[1:]
    with served(instrument, profile):
        for _ in range(2):
            with otii_client.OtiiClient().connect(host=host, port=int(port)) as app:
                (device,) = app.get_devices()
                project = app.create_project()
                device.add_to_project()
                device.set_main_voltage(3.3)
                for channel in ("mc", "mv", "i1"):
                    device.enable_channel(channel, True)
                device.set_main(True)
                project.start_recording()
                recording = project.get_last_recording()
                while recording.get_channel_data_count(device.id, "mc") < 100:
                    pass
                project.stop_recording()
                data = recording.get_channel_data(device.id, "mc", 50, 50)
                assert (data["timestamp"], data["interval"]) == (50 / 4000, 1 / 4000)
                np.testing.assert_allclose(data["values"], profile(np.arange(50, 100))[0], rtol=1e-6)
                events = recording.get_channel_data(device.id, "i1", 0, 2)["values"]
                assert {"timestamp": 60 / 4000, "value": True} in events
                assert recording.get_channel_info(device.id, "mc")["sample_rate"] == 4000
                with pytest.raises(Exception) as refused:
                    device.calibrate()
                assert getattr(refused.value, "type", "") == "Invalid command"
                recording.delete()


@pytest.mark.timeout(60)
def test_what_is_wrong_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = EmulatedOtii(Faults(miscalibrated=True))
    with served(instrument, profile):
        with pytest.raises(MonitorError, match="there are Ace; name one that is"):
            opened(instrument, "/Arc")
        driver = opened(instrument, "/Ace")
        assert str(driver.calibration_fault()).endswith(
            "its calibration is not valid; calibrate it in the Otii app"
        )
        driver.supply(True)
        driver.start()
        instrument.powered = False  # as an Arc does when the board takes too much
        with pytest.raises(
            MonitorError, match="has switched its output off: the board took more than its limit"
        ):
            while True:
                driver.read(0.1)
        driver.close()
        with pytest.raises(MonitorError, match="was closed"):
            driver.start()
    with pytest.raises(MonitorError, match=r"no Otii app answers at 127.0.0.1:1 .*start it"):
        open_instrument("127.0.0.1:1", SUPPLY)
    with pytest.raises(MonitorError, match="'x' is no port"):
        open_instrument("127.0.0.1:x", SUPPLY)
    monkeypatch.setitem(sys.modules, "otii_tcp_client.otii_client", None)
    with pytest.raises(MonitorError, match=r"pip install 'fqtbench\[otii\]'"):
        open_instrument("127.0.0.1:1", SUPPLY)


@pytest.mark.timeout(60)
def test_an_app_that_is_closed_meanwhile_is_named() -> None:
    instrument = EmulatedOtii()
    with served(instrument, profile):
        driver = opened(instrument)
        driver.start()
    with pytest.raises(MonitorError, match="is the app still there"):
        while True:
            driver.read(0.1)
    driver.close()
