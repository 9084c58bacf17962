"""The emulated PPK2 serves the unmodified ppk2-api, which knows nothing of fqtbench."""

import time

import numpy as np
import pytest
from ppk2_api.ppk2_api import PPK2_API

from fqtbench.power.instrument import Flag
from fqtbench.power.ppk2_samples import SampleDecoder
from fqtbench.power.ppk2_units import CONSTANTS, current_table_a
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.ppk2 import EmulatedPpk2
from fqtbench.virtual.instruments.ppk2_codes import CONSTANTS as ITS_CONSTANTS
from tests.power.emulated import Profile, served
from tests.power.ppk2_stream import joined

_DEADLINE_S = 60.0


def test_the_library_drives_it() -> None:
    """Metadata, mode, voltage, supply, samples and stop; its currents and pins are the board's, and ours are its."""
    current_a = np.repeat([10e-6, 6e-3, 3e-3, 80e-3], 2000)
    pins = (np.arange(8000) // 100 % 2).astype(np.uint8)
    with served(instrument := EmulatedPpk2(3.3), Profile(current_a, pins)):
        library = PPK2_API(instrument.url.removeprefix("ppk2:"), timeout=1, exclusive=True)
        assert library.get_modifiers()
        for name in CONSTANTS:
            assert tuple(library.modifiers[name].values()) == ITS_CONSTANTS[name]
        assert library.modifiers["Calibrated"] == "1"
        library.use_source_meter()
        library.set_source_voltage(2500)
        library.toggle_DUT_power("ON")
        library.start_measuring()
        data = b""
        late_at_s = time.monotonic() + _DEADLINE_S
        while len(data) < 4 * len(current_a) and time.monotonic() < late_at_s:
            data += library.get_data()
        assert instrument.powered
        samples_ua, logic = library.get_samples(data)
        library.stop_measuring()
        library.toggle_DUT_power("OFF")
        while (instrument.powered or instrument.rate_hz) and time.monotonic() < late_at_s:
            pass
        library.ser.close()
    its_a = np.array(samples_ua) * 1e-6
    assert len(its_a) == len(current_a) and logic == pins.tolist()
    constants = np.array([ITS_CONSTANTS[name] for name in CONSTANTS])
    decoder = SampleDecoder(current_table_a(constants, 2.5))
    ours = joined([decoder.push(data), decoder.finish()])
    settled = (ours.flags & Flag.RANGE_SWITCH) == 0  # at a switch the library's filter replaces samples
    assert settled.sum() == len(its_a) - 9
    assert ours.current_a[settled] == pytest.approx(its_a[settled], rel=1e-6)
    assert its_a.reshape(4, -1)[:, 100:].mean(1) == pytest.approx([10e-6, 6e-3, 3e-3, 80e-3], rel=1e-4)


def test_ranges_have_hysteresis() -> None:
    """A current that swings about a range's end changes it once, not at every sample."""
    swinging = 5e-3 + 0.3e-3 * np.sin(np.arange(5000) / 3)
    instrument = EmulatedPpk2(3.3)
    words = instrument._converter.words(swinging, np.zeros(5000, np.uint8), 3.3)
    instrument.close()
    ranges = words >> 14 & 7
    assert np.flatnonzero(np.diff(ranges)).size <= 2 and ranges[-1] == 3


def test_faults_are_drawn_from_their_seed() -> None:
    """The same seed loses the same words; another one others."""

    def sent(seed: int) -> bytes:
        instrument = EmulatedPpk2(3.3, Faults(noise_a=1e-4, lose=0.01, double=0.01, tear=0.01, seed=seed))
        words = instrument._converter.words(np.full(5000, 5e-3), np.zeros(5000, np.uint8), 3.3)
        instrument.close()
        return instrument._converter.bytes_of(words)

    assert sent(1) == sent(1) != sent(2)
    assert 19_000 < len(sent(1)) < 21_000
