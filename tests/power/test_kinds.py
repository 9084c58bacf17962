"""Promise: an installed package adds a kind of power monitor, and a broken one harms nobody but who asks for it."""

from pathlib import Path

import numpy as np
import pytest

from fqtbench.board import load_models
from fqtbench.errors import BoardError, UsageError
from fqtbench.power import known_kinds, load_kind, open_monitor, switches_supply
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
