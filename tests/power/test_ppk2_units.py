"""The PPK2's calibration: the formula against the vendor-neutral library, the metadata against any bytes."""

import numpy as np
import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st
from ppk2_api.ppk2_api import PPK2_API

from fqtbench.errors import MonitorError
from fqtbench.power.ppk2_units import CODES, CONSTANTS, RANGES, current_table_a, parse_metadata


class _NoPort:
    """What PPK2_API opens here: its formula needs no line."""

    def __init__(self, port: str) -> None:
        self.baudrate = 0

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(20))
def test_currents_equal_the_librarys(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 8: on random words and random constants, to 1e-6; each word alone, so that no range is switched."""
    rng = np.random.default_rng(seed)
    constants = np.array(
        [
            np.array([1000, 100, 10, 1, 0.05]) * rng.uniform(0.9, 1.1, 5),
            rng.uniform(0, 100, 5),
            rng.uniform(0.9, 1.1, 5),
            rng.uniform(0, 200, 5),
            rng.uniform(0, 1e-6, 5),
            rng.uniform(-1e-6, 1e-6, 5),
            rng.uniform(0.9, 1.1, 5),
        ]
    )
    millivolts = int(rng.integers(800, 5001))
    monkeypatch.setattr(serial, "Serial", _NoPort)
    oracle = PPK2_API("none")
    oracle.current_vdd = millivolts
    for name, row in zip(CONSTANTS, constants, strict=True):
        oracle.modifiers[name] = {str(k): float(value) for k, value in enumerate(row)}
    codes, ranges = rng.integers(0, CODES, 500), rng.integers(0, RANGES, 500)
    table = current_table_a(constants, millivolts / 1000)
    for code, k in zip(codes.tolist(), ranges.tolist(), strict=True):
        oracle.rolling_avg = oracle.rolling_avg4 = oracle.prev_range = None
        oracle.after_spike = 0
        samples, _ = oracle.get_samples((code | k << 14).to_bytes(4, "little"))
        assert table[code | k << 14] * 1e6 == pytest.approx(samples[0], rel=1e-6, abs=1e-9)


def _text(**changes: str) -> bytes:
    lines = {"Calibrated": "0"}
    lines |= {f"{name}{k}": f"{k + 1}.5" for name in CONSTANTS for k in range(RANGES)}
    lines |= {"VDD": "3000", "HW": "9173", "mode": "2", "IA": "56"} | changes
    return "".join(f"{key}: {value}\n" for key, value in lines.items()).encode() + b"END\n"


def test_metadata_are_read() -> None:
    """All constants where they belong; further lines are kept; nothing is wrong with it."""
    metadata = parse_metadata(_text(O3="-1e-3"))
    expected = np.tile(np.arange(5) + 1.5, (7, 1))
    expected[CONSTANTS.index("O"), 3] = -1e-3
    assert np.array_equal(metadata.constants, expected)
    assert metadata.others == {"Calibrated": "0", "VDD": "3000", "HW": "9173", "mode": "2", "IA": "56"}
    assert metadata.fault() is None


def test_another_calibration_is_another_digest() -> None:
    """A figure names the calibration that it depends on."""
    assert parse_metadata(_text()).digest != parse_metadata(_text(GI2="3.50001")).digest


@pytest.mark.parametrize("value", ["-nan", "inf", "", "none", "1e30"])
def test_a_constant_that_is_none_is_named(value: str) -> None:
    """Nordic's application and firmware know "-nan"; the default takes its place, and the fault says so."""
    metadata = parse_metadata(_text(GS1=value))
    assert metadata.replaced == ("GS1",)
    assert np.isfinite(metadata.constants).all()
    assert "GS1" in str(metadata.fault())


def test_no_resistance_is_nothing() -> None:
    """Devices with R = 0 exist (ppk2-api): the default stands in, and is named."""
    assert parse_metadata(_text(R2="0")).replaced == ("R2",)
    assert parse_metadata(_text(R2="0")).constants[0, 2] == 10.15


def test_defaults_alone_are_no_calibration() -> None:
    """A device that answers with what the libraries assume anyway was never calibrated."""
    neutral = {"R0": "1031.64", "R1": "101.65", "R2": "10.15", "R3": "0.94", "R4": "0.043"}
    neutral |= {f"{name}{k}": "1" for name in ("GS", "GI", "UG") for k in range(RANGES)}
    neutral |= {f"{name}{k}": "0" for name in ("O", "S", "I") for k in range(RANGES)}
    assert "never calibrated" in str(parse_metadata(_text(**neutral)).fault())


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"hello\nEND\n", "no calibration"), (b"x" * 10_000, "longer"), (b"R0: 1\nR0: 2\nEND", "R0 twice")],
)
def test_other_text_is_refused(text: bytes, why: str) -> None:
    """Something that is no PPK2, or speaks at the wrong moment."""
    with pytest.raises(MonitorError, match=why):
        parse_metadata(text)


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=600), st.binary(max_size=30).map(lambda noise: _text().replace(b"2.5", noise))
    )
)
def test_any_bytes_give_numbers_or_an_error(text: bytes) -> None:
    """Whatever sits at the port."""
    try:
        metadata = parse_metadata(text)
    except MonitorError:
        return
    assert np.isfinite(metadata.constants).all() and (metadata.constants[0] > 0).all()
