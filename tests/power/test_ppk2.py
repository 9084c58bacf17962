"""The driver of the PPK2 against an emulated one, through a pseudo-terminal: currents, flags, and what goes wrong."""

import select
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import serial
from numpy.typing import NDArray

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power import ppk2
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.ppk2 import Ppk2
from fqtbench.power.ppk2_port import find_port, usb_ports
from fqtbench.power.ppk2_samples import SETTLE_SAMPLES
from fqtbench.virtual.instruments import ppk2 as emulated
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.ppk2_codes import ideal_codes
from fqtbench.virtual.uart_line import PtyLine
from tests.power.emulated import Profile, served
from tests.power.ppk2_stream import Decoded, joined

_SUPPLY = Supply(volts=3.0, active_ma=6.0, idle_ma=1.0, source="a test")
_DEADLINE_S = 60.0


def _address(instrument: emulated.EmulatedPpk2) -> str:
    return instrument.url.removeprefix("ppk2:")


def _recorded(device: Ppk2, n: int) -> Decoded:
    """Read until `n` samples but those held back are there, stop, and read the rest."""
    chunks: list[Chunk] = []
    late_at_s = time.monotonic() + _DEADLINE_S
    while sum(map(len, chunks)) < n - 200 and time.monotonic() < late_at_s:
        chunks += device.read(0.1)
    device.stop()
    while time.monotonic() < late_at_s and (more := device.read(0.1)):
        chunks += more
    assert device.read(0.1) == []
    return joined(chunks)


def _code_a(current_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what one code stands for, in A, at each current, in its range or the next one up."""
    ranges = np.searchsorted([40e-6, 400e-6, 4e-3, 48e-3], current_a)
    near_a = 1e-9
    codes = np.zeros(len(current_a))
    for k in range(5):
        step = ideal_codes(current_a + near_a, k, 3.0) - ideal_codes(current_a, k, 3.0)
        codes[ranges == k] = step[ranges == k]
    return near_a / codes * 1.001


def _steps() -> NDArray[np.float64]:
    levels = [0, 1e-6, 2e-3, 20e-6, 45e-6, 0.4e-3, 55e-3, 3.3e-3, 6e-3, 0.5, 0.25, 70e-3, 1e-3, 1e-6]
    return np.repeat(levels, 1500)


def test_a_known_current_is_measured_within_a_code() -> None:
    """1 µA to 500 mA in steps, up and down: every sample within a code, sums as well, pins at their samples."""
    current_a = _steps()
    pins = (np.arange(len(current_a)) // 700 % 5).astype(np.uint8)
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(current_a, pins)):
        device = Ppk2(_address(instrument), _SUPPLY)
        device.supply(True)
        device.start()
        got = _recorded(device, len(current_a))
        device.close()
    assert len(got.current_a) == len(current_a)
    assert (abs(got.current_a - current_a) <= _code_a(current_a)).all()
    assert np.array_equal(got.digital, pins)
    assert set(np.unique(got.flags)) == {0, int(Flag.RANGE_SWITCH)}
    means = got.current_a.reshape(-1, 1500).astype(np.float64).mean(1)
    assert (abs(means - current_a[::1500]) <= _code_a(current_a[::1500]) / 1500 + 1e-7 * means).all()
    flagged = np.flatnonzero(got.flags & Flag.RANGE_SWITCH)
    assert set(flagged % 1500) == set(range(SETTLE_SAMPLES)) and len(flagged) > 20


def test_noise_is_unbiased() -> None:
    """Noise as wide as many codes: the mean stays."""
    with served(
        instrument := emulated.EmulatedPpk2(3.0, Faults(noise_a=0.2e-3)), Profile(np.full(20_000, 8e-3))
    ):
        device = Ppk2(_address(instrument), _SUPPLY)
        device.supply(True)
        device.start()
        got = _recorded(device, 20_000)
        device.close()
    assert got.current_a.std() == pytest.approx(0.2e-3, rel=0.1)
    assert got.current_a.mean() == pytest.approx(8e-3, abs=5 * 0.2e-3 / 20_000**0.5)


def test_a_board_without_supply_draws_nothing() -> None:
    """The supply is as it was until it is switched; what a board would draw does not matter then."""
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(np.full(4000, 5e-3))):
        device = Ppk2(_address(instrument), _SUPPLY)
        assert not instrument.powered
        device.start()
        got = _recorded(device, 4000)
        device.close()
    assert (abs(got.current_a) <= _code_a(np.zeros(1))).all()


@pytest.mark.parametrize("fault", ["lose", "double", "tear"])
def test_faults_are_flagged_and_nothing_else_is_wrong(fault: str) -> None:
    """Words lost, doubled and torn on their way: each noticed, and no sample outside what is flagged is wrong."""
    rng = np.random.default_rng(1)
    current_a = rng.uniform(6e-3, 40e-3, 30_000)
    with served(
        instrument := emulated.EmulatedPpk2(3.0, Faults(**{fault: 1e-3, "seed": 4})), Profile(current_a)
    ):  # type: ignore[arg-type]
        device = Ppk2(_address(instrument), _SUPPLY)
        device.supply(True)
        device.start()
        got = _recorded(device, len(current_a))
        device.close()
    assert 10 < got.lost.sum() < 2_000
    kept = np.flatnonzero(~got.lost)
    assert (abs(got.current_a[kept] - current_a[kept]) <= _code_a(current_a[kept])).all()
    assert len(got.current_a) == len(current_a)


def test_a_second_record_begins_at_sample_0() -> None:
    """Start, read a little, start again: what was left is thrown away."""
    profile = Profile(np.concatenate([np.full(50_000, 1e-3), np.full(50_000, 2e-3)]))
    with served(instrument := emulated.EmulatedPpk2(3.0), profile):
        device = Ppk2(_address(instrument), _SUPPLY)
        device.supply(True)
        device.start()
        while not device.read(0.1):
            pass
        device.start()
        first = [*device.read(1.0), *device.read(1.0)][0]
        device.close()
    assert first.first == 0 and not (first.flags & Flag.LOST).any()


def test_another_program_left_it_sampling() -> None:
    """A process was killed while its PPK2 sampled: the next one opens it all the same."""
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(np.full(200_000, 1e-3))):
        with serial.Serial(_address(instrument), timeout=10) as left:
            left.write(b"\x06")
            assert left.read(1000)
        device = Ppk2(_address(instrument), _SUPPLY)
        assert instrument.rate_hz is None
        assert device.calibration_fault() is None
        assert "hardware 9173" in device.model_id
        device.close()


def test_stop_while_another_thread_reads() -> None:
    """The reader gets all that was measured, and then nothing."""
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(np.full(20_000, 1e-3))):
        device = Ppk2(_address(instrument), _SUPPLY)
        device.start()
        chunks: list[Chunk] = []
        enough = threading.Event()

        def read() -> None:
            while (more := device.read(20.0)) and more:
                chunks.extend(more)
                if sum(map(len, chunks)) > 5000:
                    enough.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert enough.wait(_DEADLINE_S)
        device.stop()
        reader.join(_DEADLINE_S)
        assert not reader.is_alive()
        device.close()
        device.close()
    assert not joined(chunks).lost.any()


def test_the_voltage_is_set_and_the_mode_left() -> None:
    """A source meter stays one: switching it again might interrupt the supply."""
    commands: list[bytes] = []
    instrument = emulated.EmulatedPpk2(5.0)
    obey = instrument._obey
    instrument._obey = lambda command, arguments: (  # type: ignore[method-assign]
        commands.append(bytes([command]) + arguments),
        obey(command, arguments),
    )[1]
    with served(instrument):
        device = Ppk2(_address(instrument), _SUPPLY)
        assert device.volts == 3.0
        device.supply(True)
        device.supply(False)
        device.start()
        device.stop()
        assert device.read(1.0) == []
        device.close()
    assert commands == [
        b"\x07",
        b"\x19",
        b"\x0d" + (3000).to_bytes(2, "big"),
        b"\x0c\x01",
        b"\x0c\x00",
        b"\x06",
        b"\x07",
        b"\x19",
    ]


def test_one_that_was_never_calibrated_says_so() -> None:
    """It answers with the libraries' defaults."""
    with served(instrument := emulated.EmulatedPpk2(3.0, Faults(miscalibrated=True))):
        device = Ppk2(_address(instrument), _SUPPLY)
        assert "never calibrated" in str(device.calibration_fault())
        device.close()


def test_two_cannot_hold_it() -> None:
    """The second is told that another program has it."""
    with served(instrument := emulated.EmulatedPpk2(3.0)):
        device = Ppk2(_address(instrument), _SUPPLY)
        with pytest.raises(MonitorError, match="another program holds"):
            Ppk2(_address(instrument), _SUPPLY)
        device.close()


def test_unplugged_while_it_samples() -> None:
    """The port vanishes: MonitorError, whichever method notices."""
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(np.full(1_000_000, 1e-3))) as ended:
        device = Ppk2(_address(instrument), _SUPPLY)
        device.start()
        assert device.read(10.0) is not None
        ended.set()
        late_at_s = time.monotonic() + _DEADLINE_S
        with pytest.raises(MonitorError, match="unplugged"):
            while time.monotonic() < late_at_s:
                device.read(0.1)
        device.close()


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (b"", "no metadata"),
        (b"login: \r\n" * 400, "no metadata"),
        (b"Calibrated: 1\nEND\n", "no calibration"),
    ],
)
def test_something_else_at_the_port(say: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell, silence, half a PPK2: an error that says what to do."""
    monkeypatch.setattr(ppk2, "_ANSWER_S", 0.5)
    line, ended = PtyLine(), threading.Event()

    def answer() -> None:
        while not ended.is_set():
            if select.select(line.readers(), line.writers(), [], 0.01)[0] and line.poll():
                line.send(say)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with pytest.raises(MonitorError, match=why):
        Ppk2(line.url, _SUPPLY)
    ended.set()
    thread.join(_DEADLINE_S)
    line.close()


def test_bytes_that_are_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that sends noise instead of samples is not waited for for ever."""
    with served(instrument := emulated.EmulatedPpk2(3.0), Profile(np.full(400_000, 1e-3))):
        monkeypatch.setattr(
            instrument._converter, "bytes_of", lambda words: np.full(len(words), 0x55AA55AA, "<u4").tobytes()
        )
        device = Ppk2(_address(instrument), _SUPPLY)
        device.start()
        with pytest.raises(MonitorError, match="no samples"):
            for _ in range(10_000):
                device.read(1.0)
        device.close()


def test_a_voltage_that_it_cannot_give() -> None:
    """Before anything is opened."""
    with pytest.raises(MonitorError, match=r"0\.8 to 5 V"):
        Ppk2("/dev/none", _SUPPLY.model_copy(update={"volts": 12.0}))


def test_no_such_port() -> None:
    """The message names it."""
    with pytest.raises(MonitorError, match="/dev/none"):
        Ppk2("/dev/none", _SUPPLY)


def _listed(device: str, number: str | None, location: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=0x1915, pid=0xC00A, serial_number=number, location=location)


_PORTS = usb_ports(
    [
        _listed("/dev/ttyACM0", "C10A56B6", "1-1:1.1"),
        _listed("/dev/ttyACM1", "C10A56B6", "1-1:1.3"),
        _listed("/dev/ttyACM2", "C10A56B60", "1-2:1.1"),
        _listed("/dev/ttyACM3", None),
        SimpleNamespace(device="/dev/ttyS0", vid=None, pid=None, serial_number=None, location=None),
    ]
)


@pytest.mark.parametrize(
    ("address", "device"),
    [
        ("C10A56B60", "/dev/ttyACM2"),
        ("1915:c00a:C10A56B60", "/dev/ttyACM2"),
        ("1915:C00A:C10A56B6-if01", "/dev/ttyACM0"),
        ("C10A56B6-if03", "/dev/ttyACM1"),
    ],
)
def test_a_port_is_found_by_its_whole_identity(address: str, device: str) -> None:
    """Never by a part of it: 'C10A56B6' is no name for C10A56B60."""
    assert find_port(address, _PORTS)[0] == device


def test_the_serial_number_behind_a_path() -> None:
    """It is part of what a figure depends on, however the port was named."""
    assert find_port("/dev/ttyACM2", _PORTS) == ("/dev/ttyACM2", "C10A56B60")
    assert find_port("/dev/ttyACM9", _PORTS) == ("/dev/ttyACM9", None)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("C10A56B6", ["/dev/ttyACM0", "/dev/ttyACM1", "-if01"]),
        ("C10A56B", ["no serial port", "C10A56B60"]),
        ("1915:c00b:C10A56B60", ["no serial port"]),
        ("C10A56B60-if02", ["no serial port"]),
    ],
)
def test_no_port_or_several(address: str, words: list[str]) -> None:
    """Two candidates are named, none is guessed."""
    with pytest.raises(MonitorError) as caught:
        find_port(address, _PORTS)
    assert all(word in str(caught.value) for word in words)
