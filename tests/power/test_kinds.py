"""Promise: an installed package adds a kind of power monitor, and a broken one harms nobody but who asks for it."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fqtbench.board import load_models
from fqtbench.errors import BoardError, MonitorError, UsageError
from fqtbench.power import SupplySwitch, kinds, known_kinds, load_kind, open_monitor, switches_supply
from fqtbench.power.built_in import INSTRUMENTS, InstrumentKind, parse_instrument_url
from fqtbench.power.measured import SupplyingMonitor
from tests.monitors import install

SUPPLY = load_models()["nrf52840"].supply
assert SUPPLY is not None
PLAIN = """
class Opened:
    def __init__(self, url, supply):
        self.model_id = f"{url} at {supply.volts} V"
"""
SWITCHING = PLAIN + "    def power_cycle(self): ...\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that Python finds."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_registered_kind_is_opened_by_its_url(site: Path) -> None:
    install(site, "meter_one", "meter", PLAIN)
    assert {"meter", "modelled"} <= set(known_kinds())
    assert open_monitor("meter:C0FFEE", SUPPLY).model_id == "meter:C0FFEE at 3.0 V"


def test_a_kind_whose_class_can_switch_the_supply_is_known_without_opening_it(site: Path) -> None:
    install(site, "meter_two", "meter", PLAIN)
    install(site, "source_two", "source", SWITCHING)
    assert (switches_supply("meter:"), switches_supply("source:")) == (False, True)


@pytest.mark.parametrize(
    ("number", "code", "why"),
    [
        ("three", "import no_such_driver", "ModuleNotFoundError: No module named 'no_such_driver'"),
        ("four", "raise SystemExit('udev')", "SystemExit: udev"),
        ("five", "", "AttributeError: module 'broken_five' has no attribute 'Opened'"),
        ("six", "Opened = 1", "nothing that could be called"),
    ],
)
def test_a_broken_package_is_named_and_harms_no_other(site: Path, number: str, code: str, why: str) -> None:
    install(site, f"broken_{number}", "broken", code)
    install(site, f"meter_{number}", "meter", PLAIN)
    with pytest.raises(BoardError) as caught:
        load_kind("broken:1")
    told = f"power monitor broken:1: broken_{number} 1.0 registers broken_{number}:Opened for it, which can't be loaded"
    assert str(caught.value).startswith(f"{told} ({why}); mend or uninstall")
    assert not switches_supply("broken:1")
    load_kind("meter:1")
    energies_j = open_monitor("modelled:", SUPPLY).window_energies_j(np.ones(2), "active")
    assert (energies_j > 0).all()


def test_two_packages_that_register_one_kind_are_both_named(site: Path) -> None:
    install(site, "meter_seven", "meter", PLAIN)
    install(site, "meter_eight", "meter", PLAIN)
    with pytest.raises(
        BoardError, match=r"meter_eight 1\.0 and meter_seven 1\.0 both register the kind meter"
    ):
        load_kind("meter:")


def test_an_unknown_kind_is_told_with_those_there_are(site: Path) -> None:
    install(site, "meter_nine", "meter", PLAIN)
    with pytest.raises(UsageError, match=r"power monitor metre:: unknown kind metre; did you mean meter\?"):
        load_kind("metre:")


def test_the_model_is_nobodys_to_replace(site: Path) -> None:
    install(site, "meter_ten", "modelled", PLAIN)
    assert open_monitor("modelled:", SUPPLY).origin == "modelled"


def test_the_built_in_instruments_that_can_switch_a_supply_are_known_without_opening_them() -> None:
    assert {"ppk2", "lpm01a", "otii", "joulescope"} <= set(known_kinds())
    assert [switches_supply(f"{kind}:") for kind in ("ppk2", "lpm01a")] == [True, True]
    assert InstrumentKind("otii", feeds=True).monitor is SupplyingMonitor
    assert not issubclass(INSTRUMENTS["joulescope"].monitor, SupplySwitch)


def driver(monkeypatch: pytest.MonkeyPatch, code: str) -> InstrumentKind:
    """Return a kind of instrument whose module has such code."""
    module = ModuleType("fqtbench.power.dummy")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return InstrumentKind("dummy", feeds=True)


def test_an_instrument_gets_its_address_and_its_monitor_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SUPPLY is not None
    kind = driver(
        monkeypatch,
        "from tests.power.instruments import Memory\n"
        "def open_instrument(address, supply):\n"
        "    return Memory([], name=address, volts=supply.volts)\n",
    )
    monitor = kind("dummy:/dev/ttyACM0?trigger=3&origin=modelled&model=mix/1", SUPPLY)
    assert (monitor.instrument.name, monitor.trigger, monitor.origin) == ("/dev/ttyACM0", 3, "modelled")
    assert monitor.model_id == f"{monitor.instrument.model_id}; current mix/1"
    assert kind("dummy:C0FFEE", SUPPLY).origin == "measured"


def test_an_instrument_whose_monitor_refuses_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SUPPLY is not None
    kind = driver(
        monkeypatch,
        "from tests.power.instruments import Memory\n"
        "opened = []\n"
        "def open_instrument(address, supply):\n"
        "    opened.append(Memory([], volts=9.0))\n"
        "    return opened[0]\n",
    )
    with pytest.raises(MonitorError, match="it is set to 9 V"):
        kind("dummy:1", SUPPLY)
    assert sys.modules["fqtbench.power.dummy"].opened[0].course == ["close"]


def test_a_missing_library_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SUPPLY is not None
    absent = InstrumentKind("otii", feeds=True, needs="no_such_library")
    monkeypatch.setitem(kinds._BUILT_IN, "otii", absent)
    told = (
        "power monitor otii:1: the package no_such_library is not installed; "
        "install it with `pip install 'fqtbench[otii]'`"
    )
    with pytest.raises(MonitorError) as caught:
        load_kind("otii:1")
    assert str(caught.value) == told
    assert not switches_supply("otii:1")
    lacking = driver(monkeypatch, "def open_instrument(address, supply):\n    import no_such_part\n")
    with pytest.raises(
        MonitorError, match=r"dummy:1: its driver can't be loaded \(No module named 'no_such_part'"
    ):
        lacking("dummy:1", SUPPLY)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("trigger=8", "trigger=8 is no digital input; they are 0 to 7"),
        ("trigger=", "trigger= is no digital input"),
        ("triger=1", "unknown key triger; did you mean trigger"),
        ("trigger=1&trigger=1", "a key is there twice"),
        ("origin=published", "origin=published is neither measured nor modelled"),
        ("trigger", "write what is behind `?` as trigger=N"),
        ("&".join("trigger=1" for _ in range(99)), "write what is behind `?` as trigger=N"),
    ],
)
def test_a_query_that_means_nothing_is_told(query: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        parse_instrument_url(f"ppk2:1?{query}")


def test_an_address_may_have_colons() -> None:
    where = parse_instrument_url("otii:127.0.0.1:1905?trigger=1")
    assert (where.kind, where.address, where.trigger) == ("otii", "127.0.0.1:1905", 1)
