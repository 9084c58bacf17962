"""Promise: our driver calls the Joulescope's library as it is, and says what is wrong with what it finds.

No instrument is here. A stand-in has the signatures of the real library, which are compared.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.joulescope import Joulescope, Library, open_instrument

SUPPLY = Supply(volts=3.0, active_ma=5, idle_ma=1, source="test")
PATH = "u/js220/004321"


class StandIn:
    """A library with devices, which remembers what was published."""

    def __init__(self, *paths: str, refuses: str = "") -> None:
        self.paths = list(paths)
        self.published: dict[str, Any] = {}
        self.receivers: dict[str, Callable[[str, Any], None]] = {}
        self.opened: str | None = None
        self.finalized = False
        self._refuses = refuses

    def device_paths(self, timeout: float | None = None) -> list[str]:
        return self.paths

    def open(self, device_prefix: str, mode: str | None = None, timeout: float | None = None) -> None:
        self.opened = device_prefix

    def close(self, device_prefix: str, timeout: float | None = None) -> None:
        self.opened = None

    def publish(self, topic: str, value: Any, timeout: float | None = None) -> None:
        if self._refuses and topic.endswith(self._refuses):
            raise RuntimeError("timed out")
        self.published[topic] = value

    def subscribe(self, topic: str, flags: Any, fn: Callable[..., Any], timeout: float | None = None) -> None:
        assert flags == ["pub"]
        self.receivers[topic] = fn

    def unsubscribe(self, topic: str, fn: Callable[..., Any], timeout: float | None = None) -> None:
        assert self.receivers.pop(topic) is fn

    def finalize(self, timeout: float | None = None) -> None:
        self.finalized = True

    def send(self, first: int, n: int) -> None:
        """Publish blocks of all three streams; their memory is used again at once, as the library does."""
        blocks: dict[str, NDArray[Any]] = {
            "s/i": np.full(n, 2e-3, dtype=np.float32),
            "s/v": np.full(n, 3.1, dtype=np.float32),
            "s/gpi/0": np.packbits(np.arange(n * 10) // 10 % 2, bitorder="little"),
        }
        for stream, data in blocks.items():
            step = 1 if stream == "s/gpi/0" else 10
            topic = f"{PATH}/{stream}/!data"
            value = {
                "sample_id": first * 10,
                "sample_rate": 1_000_000,
                "decimate_factor": step,
                "data": data,
            }
            self.receivers[topic](topic, value)
            data[:] = 0


def test_the_stand_in_has_the_signatures_of_the_library() -> None:
    real = pytest.importorskip("pyjoulescope_driver").Driver
    for name, ours in inspect.getmembers(StandIn, inspect.isfunction):
        if hasattr(Library, name) and not name.startswith("_"):
            assert list(inspect.signature(ours).parameters) == list(
                inspect.signature(getattr(real, name)).parameters
            ), name


def test_it_is_set_up_records_and_is_let_go() -> None:
    library = StandIn("u/js110/001", PATH)
    driver = Joulescope(library, "004321", 3.0)
    assert driver.name == driver.model_id == "Joulescope JS220 004321"
    assert (library.opened, library.published[f"{PATH}/h/fs"]) == (PATH, 100_000)
    assert library.published[f"{PATH}/s/i/range/mode"] == "auto"
    for _ in range(2):
        driver.start()
        assert library.published[f"{PATH}/s/gpi/0/ctrl"] == 1
        library.send(5, 100)
        library.send(105, 20)
        driver.stop()
        assert library.published[f"{PATH}/s/gpi/0/ctrl"] == 0 and not library.receivers
        first, second = driver.read(1)[0], driver.read(1)[0]
        assert (first.first, len(first), second.first, len(second)) == (0, 100, 100, 20)
        assert not first.flags.any() and first.volts is not None
        np.testing.assert_allclose(first.current_a, 2e-3)
        np.testing.assert_allclose(first.volts, 3.1, rtol=1e-6)
        np.testing.assert_array_equal(first.digital, np.arange(100) % 2)
        assert driver.read(1) == []
    driver.supply(True)
    with pytest.raises(MonitorError, match="can't switch the board's supply; give the board a power_cycle"):
        driver.supply(False)
    driver.close()
    driver.close()
    assert library.opened is None and library.finalized
    with pytest.raises(MonitorError, match="was closed"):
        driver.start()


def test_the_right_one_is_found_or_all_are_named() -> None:
    assert Joulescope(StandIn(PATH), "", 3.0).name == "Joulescope JS220 004321"
    two = StandIn("u/js110/001", PATH)
    with pytest.raises(
        MonitorError, match=r"a Joulescope can't be chosen: there are u/js110/001, u/js220/004321;"
    ):
        Joulescope(two, "", 3.0)
    assert two.finalized
    with pytest.raises(MonitorError, match="there is no Joulescope 7: there is none; plug it in"):
        Joulescope(StandIn(), "7", 3.0)


def test_what_the_library_raises_is_told_with_a_remedy() -> None:
    with pytest.raises(
        MonitorError, match=r"JS220 004321: pyjoulescope_driver can't set h/fs of it: timed out; check"
    ):
        Joulescope(StandIn(PATH, refuses="h/fs"), "", 3.0)


def test_more_than_is_read_is_an_error() -> None:
    library = StandIn(PATH)
    driver = Joulescope(library, "", 3.0)
    driver.start()
    for number in range(1500):
        library.send(number * 10, 10)
    with pytest.raises(MonitorError, match="sent more than was read"):
        driver.read(1)


def test_the_real_library_finds_nothing_here() -> None:
    pytest.importorskip("pyjoulescope_driver")
    with pytest.raises(MonitorError, match="there is no Joulescope no-such-number"):
        open_instrument("no-such-number", SUPPLY)


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", None)
    with pytest.raises(MonitorError, match=r"pip install 'fqtbench\[joulescope\]'"):
        open_instrument("", SUPPLY)
