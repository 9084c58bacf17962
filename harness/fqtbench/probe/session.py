"""pyOCD sessions that behave: one exact probe, no files, no prompts, no silent erase, our errors."""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from typing import Any, Final, NamedTuple

from pyocd.board.board_ids import BOARD_ID_TO_INFO
from pyocd.core import exceptions
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.probe.cmsis_dap_probe import CMSISDAPProbe

from fqtbench.board import probe_key
from fqtbench.errors import FlashError, FqtbenchError, LockedError, ProbeError, UsageError
from fqtbench.probe import remote

# Core debug registers, ARMv7-M ARM (DDI 0403E.e) C1.6.
_DHCSR: Final = 0xE000_EDF0
_DHCSR_DEBUG_OFF: Final = 0xA05F_0000
_DEMCR: Final = 0xE000_EDFC
_DEMCR_TRCENA: Final = 1 << 24

_SERVER_PREAMBLE: Final = re.compile(r"error received from server for command \w+ \(status code \d+\): ")


class Setup(NamedTuple):
    """What it takes to open a session: the probe's id, pyOCD's names of chip and connect mode, SWD clock."""

    probe_id: str
    target: str
    connect_mode: str
    swd_hz: int


class _Delegate:
    """pyOCD's hooks: what a session does not need is left out, and a running core is left clean."""

    def will_init_target(self, target: Any, init_sequence: Any) -> None:
        # Parsing the chip's register descriptions takes a second of CPU time for names that nothing here uses.
        if init_sequence.has_task("load_svd"):
            init_sequence.remove_task("load_svd")

    def did_stop_debug_core(self, core: Any) -> None:
        """Take the debugger off a running core.

        pyOCD's own way (`resume_on_disconnect`) clears DEMCR, and with TRCENA stops the cycle counter that
        the firmware has just started.
        """
        if core.get_state() != Target.State.HALTED:
            core.write32(_DHCSR, _DHCSR_DEBUG_OFF)
            core.write32(_DEMCR, core.read32(_DEMCR) & _DEMCR_TRCENA)

    def did_disconnect(self, target: Any, resume: bool) -> None:
        """Power the debug port down, unless a core is left halted: the nRF52 draws more current otherwise."""
        if all(core.get_state() != Target.State.HALTED for core in target.cores.values()):
            target.dp.disconnect()


def attached_probes() -> list[Any]:
    """Return pyOCD's objects for the probes on this host's USB."""
    _quieten()
    with translated("(any)", "listing the probes"):
        return list(ConnectHelper.get_all_connected_probes(blocking=False, print_wait_message=False))


def target_by_id(probe: Any) -> str | None:
    """Return pyOCD's name of the chip on a probe's board, if its id begins with a board's, as a DAPLink's does.

    Nothing is asked of the probe: somebody else may be working with it.
    """
    if not isinstance(probe, CMSISDAPProbe):
        return None
    info = BOARD_ID_TO_INFO.get(probe.board_id)
    return None if info is None else info.target


def open_session(setup: Setup, erase_if_locked: bool = False) -> Any:
    """Return an open `pyocd.core.session.Session` with a halted core.

    Raises `ProbeError`; `LockedError` for a locked chip, unless `erase_if_locked`; `UsageError` for a chip
    that pyOCD does not know.
    """
    _quieten()
    probe = _find(setup.probe_id)
    with translated(setup.probe_id, "connecting"):
        session = _new_session(setup, probe, erase_if_locked)
    try:
        with translated(setup.probe_id, "connecting"):
            session.open()
    except BaseException as error:
        locked = isinstance(error, ProbeError) and _is_locked(session)
        close_session(session)
        if locked:
            raise LockedError(
                f"probe {setup.probe_id}: the {setup.target} is locked (access port protection); "
                "`fqtbench recover BOARD` unlocks it by erasing all of it"
            ) from error
        raise
    return session


def close_session(session: Any) -> None:
    """Close a session and its probe, whatever state they are in; never raises."""
    # Exception: pyOCD's backends raise anything once a probe is gone, and there is nobody left to tell.
    with suppress(Exception):
        session.close()
    sock = getattr(session.probe, "_socket", None)
    if isinstance(sock, remote.RemoteSocket):
        sock.close()


@contextmanager
def translated(probe_id: str, operation: str) -> Iterator[None]:
    """Turn what pyOCD and its backends raise into `ProbeError`, `FlashError` or `UsageError`, on one line."""
    try:
        yield
    except FqtbenchError:
        raise
    except Exception as error:  # backends let USB, HID and J-Link errors through, and pyOCD its assertions
        raise _translation(f"probe {probe_id}: {operation}", error) from error


# Most specific first: pyOCD's class, ours, and what the line says after "probe ID: operation".
_TRANSLATIONS: Final[tuple[tuple[type[Exception], type[FqtbenchError], str], ...]] = (
    (
        exceptions.ProbeDisconnected,
        ProbeError,
        ": the probe is lost: {}; check that it is plugged in, or its server running",
    ),
    (exceptions.FlashFailure, FlashError, " failed ({}); try again, then check supply and SWD wiring"),
    (exceptions.TransferFaultError, ProbeError, ": the chip refuses the access ({}); check the address"),
    (
        exceptions.TargetSupportError,
        UsageError,
        ": pyOCD does not know this chip; check pyocd_target in the board model",
    ),
    (exceptions.ProbeError, ProbeError, ": {}; close any other program that uses the probe"),
    (exceptions.Error, ProbeError, ": {}; check the board's power and its SWD wires"),
)


def _translation(where: str, raised: BaseException) -> FqtbenchError:
    error = _decisive(raised)
    if type(error) is exceptions.ProbeError and remote.PREFIX in where:
        return ProbeError(f"{where}: {_line(error)}")  # the server's own words say what to do
    for theirs, ours, words in _TRANSLATIONS:
        if isinstance(error, theirs):
            return ours(where + words.format(_line(error)))
    return ProbeError(f"{where}: {type(error).__name__} ({_line(error)}); unplug the probe, plug it in again")


def _decisive(error: BaseException) -> BaseException:
    """Return the loss of the probe that an error hides, or else the error itself.

    When the probe is lost, pyOCD's clean-up trips over its own assertions and hides why.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, exceptions.ProbeDisconnected):
        cause = cause.__cause__ or cause.__context__
    return cause or error


def _find(probe_id: str) -> Any:
    """Return pyOCD's object for the probe with exactly this id."""
    if probe_id.startswith(remote.PREFIX):
        return remote.remote_probe(probe_id)
    probes = attached_probes()
    matching = [p for p in probes if probe_key(str(p.unique_id)) == probe_key(probe_id)]
    if len(matching) == 1:
        return matching[0]
    ids = ", ".join(sorted(str(p.unique_id) for p in probes)) or "none"
    if matching:
        which = ", ".join(f"{p.description} {p.unique_id}" for p in matching)
        raise ProbeError(
            f"probe {probe_id}: {len(matching)} probes have this id ({which}); unplug all but one"
        )
    raise ProbeError(
        f"probe {probe_id}: not attached to this host (attached: {ids}); check cable, power and id"
    )


def _new_session(setup: Setup, probe: Any, auto_unlock: bool) -> Any:
    """Return a session that has read no file. pyOCD changes into its project folder: change back."""
    with tempfile.TemporaryDirectory(prefix="fqtbench-") as empty, chdir(empty):
        session = Session(
            probe,
            options={
                "auto_unlock": auto_unlock,
                "connect_mode": setup.connect_mode,
                "frequency": setup.swd_hz,
                "hide_programming_progress": True,
                "no_config": True,
                "project_dir": empty,
                "resume_on_disconnect": False,
                "target_override": setup.target,
            },
        )
    session.delegate = _Delegate()
    return session


def _is_locked(session: Any) -> bool:
    target = session.target
    if getattr(target, "ctrl_ap", None) is None:
        return False
    try:
        return bool(target.is_locked())
    except Exception:  # the probe may be gone: then the error that brought us here tells more
        return False


def _line(error: BaseException) -> str:
    return _SERVER_PREAMBLE.sub("", " ".join(str(error).split())) or type(error).__name__


def _quieten() -> None:
    """Silence pyOCD, which logs each error that it raises; a level that somebody has set stays."""
    logger = logging.getLogger("pyocd")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
