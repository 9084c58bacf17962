"""Which kinds of power monitors there are: the built-in ones, and those that installed packages register.

A package registers a kind by an entry point of the group `GROUP` (docs/power.md). Only a board that uses the kind loads
it, so that a broken package is a failure of that board's alone.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from fqtbench.board import Supply
from fqtbench.errors import BoardError, UsageError
from fqtbench.power.built_in import INSTRUMENTS, InstrumentKind
from fqtbench.power.modelled import ModelledMonitor
from fqtbench.power.monitor import Monitor, SupplySwitch
from fqtbench.schema import nearest

GROUP: Final = "fqtbench.power"
Opener = Callable[[str, Supply], Monitor]
"""A class, or a function, that opens the monitor at a URL, ``<kind>:<address>``, for a board with this supply."""
_BUILT_IN: Final[dict[str, Opener]] = {"modelled": lambda url, supply: ModelledMonitor(supply), **INSTRUMENTS}


def known_kinds() -> list[str]:
    """Return the names of all kinds, in order; nothing is loaded."""
    return sorted({*_BUILT_IN, *entry_points(group=GROUP).names})


def load_kind(url: str) -> Opener:
    """Return what opens a monitor at `url`.

    Raises UsageError if its kind is unknown; BoardError, which names the package, if two register it or if what is
    registered can't be used; MonitorError, which names the extra, if an instrument's library is not installed.
    """
    kind = url.partition(":")[0]
    if kind in _BUILT_IN:
        opener = _BUILT_IN[kind]
        if isinstance(opener, InstrumentKind):
            opener.check(url)
        return opener
    found = list(entry_points(group=GROUP, name=kind))
    if not found:
        raise UsageError(f"power monitor {url}: unknown kind {kind}{nearest(kind, known_kinds())}")
    if len(found) > 1:
        names = " and ".join(sorted(map(_package, found)))
        raise BoardError(f"power monitor {url}: {names} both register the kind {kind}; uninstall one of them")
    return _load(url, found[0])


def open_monitor(url: str, supply: Supply) -> Monitor:
    """Open the monitor at `url` for a board with `supply`; raises what `load_kind` does, and MonitorError."""
    return load_kind(url)(url, supply)


def switches_supply(url: str) -> bool:
    """Whether a monitor at such a URL can take the board's supply away; nothing is opened.

    False for a kind that can't be used: opening it says why.
    """
    try:
        opener = load_kind(url)
    except (BoardError, UsageError):
        return False
    made = opener.monitor if isinstance(opener, InstrumentKind) else opener
    return isinstance(made, type) and issubclass(made, SupplySwitch)


def _load(url: str, found: EntryPoint) -> Opener:
    try:
        opener = found.load()
    except (Exception, SystemExit) as error:  # whatever a package of somebody else's does when it is imported
        why = f"{type(error).__name__}: {error}"
    else:
        if callable(opener):
            return opener  # type: ignore[no-any-return]  # the package's promise
        why = "nothing that could be called"
    raise BoardError(
        f"power monitor {url}: {_package(found)} registers {found.value} for it, which can't be loaded ({why}); "
        "mend or uninstall that package"
    )


def _package(found: EntryPoint) -> str:
    """Return the name and version of the package that registers it."""
    return "a package without a name" if found.dist is None else f"{found.dist.name} {found.dist.version}"
