"""The kinds of instruments that come with fqtbench: a module each, which is loaded when one is opened.

The address of a board's instrument is ``<kind>:<address>``, and behind it, optionally, a query:

    ppk2:C0FFEE12?trigger=2

`trigger`: the number of the digital input that the board's trigger pin is wired to, 0 to 7; 0 if it isn't said.
`origin`: `modelled` says that the instrument is an emulation. Whoever launches one adds it, as a launched board says
whether its cycles are modelled; a driver can't know. `model`: the name of the power model whose current it measures.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Final, get_args
from urllib.parse import parse_qsl

from fqtbench.board import Origin, Supply
from fqtbench.errors import MonitorError, UsageError
from fqtbench.power.instrument import Instrument
from fqtbench.power.measured import MeasuredMonitor, SupplyingMonitor
from fqtbench.schema import nearest

_INPUTS: Final = 8
_KEYS: Final = ["trigger", "origin", "model"]


@dataclass(frozen=True)
class InstrumentUrl:
    """A monitor's URL, taken apart."""

    kind: str
    address: str
    trigger: int
    origin: Origin
    model: str | None


def parse_instrument_url(url: str) -> InstrumentUrl:
    """Return the parts of `url`; UsageError if its query can't be understood."""
    where, mark, query = url.partition("?")
    kind, _, address = where.partition(":")
    try:
        pairs = (
            parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8) if mark else []
        )
    except ValueError as error:
        raise UsageError(f"power monitor {url}: write what is behind `?` as trigger=N") from error
    said = dict(pairs)
    for key in said:
        if key not in _KEYS:
            raise UsageError(f"power monitor {url}: unknown key {key}{nearest(key, _KEYS)}")
    if len(said) != len(pairs):
        raise UsageError(f"power monitor {url}: a key is there twice; take one away")
    trigger = said.get("trigger", "0")
    if trigger not in map(str, range(_INPUTS)):
        raise UsageError(
            f"power monitor {url}: trigger={trigger} is no digital input; they are 0 to {_INPUTS - 1}"
        )
    for origin in get_args(Origin):
        if origin == said.get("origin", "measured") != "published":
            return InstrumentUrl(kind, address, int(trigger), origin, said.get("model"))
    raise UsageError(f"power monitor {url}: origin={said['origin']} is neither measured nor modelled")


@dataclass(frozen=True)
class InstrumentKind:
    """What opens monitors of one kind of instrument. Its module has a function `open_instrument(address, supply)`.

    `feeds`: whether the board's supply goes through it and it can switch that. `needs`: the vendor's library, by the
    name that it is imported by, which an extra of the kind's name installs.
    """

    name: str
    feeds: bool
    needs: str | None = None

    @property
    def monitor(self) -> type[MeasuredMonitor]:
        """The class of its monitors."""
        return SupplyingMonitor if self.feeds else MeasuredMonitor

    def check(self, url: str) -> None:
        """Raise MonitorError if its library is not installed; nothing is loaded."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            raise self._lacking(url, f"the package {self.needs} is not installed")

    def __call__(self, url: str, supply: Supply) -> MeasuredMonitor:
        """Open the instrument at `url`."""
        where = parse_instrument_url(url)
        try:
            module = importlib.import_module(f"fqtbench.power.{self.name}")
            instrument: Instrument = module.open_instrument(where.address, supply)
        except ImportError as error:  # also what a vendor's library may lack in its turn
            raise self._lacking(url, f"its driver can't be loaded ({error})") from error
        try:
            return self.monitor(
                instrument, supply, trigger=where.trigger, origin=where.origin, current_model=where.model
            )
        except BaseException:
            instrument.close()
            raise

    def _lacking(self, url: str, why: str) -> MonitorError:
        extra = "fqtbench" if self.needs is None else f"fqtbench[{self.name}]"
        return MonitorError(f"power monitor {url}: {why}; install it with `pip install '{extra}'`")


INSTRUMENTS: Final = {
    kind.name: kind
    for kind in (
        InstrumentKind("ppk2", feeds=True),
        InstrumentKind("lpm01a", feeds=True),
        InstrumentKind("otii", feeds=True, needs="otii_tcp_client"),
        InstrumentKind("joulescope", feeds=False, needs="pyjoulescope_driver"),
    )
}
