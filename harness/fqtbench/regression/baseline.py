"""The baseline: a results folder that only `baseline update` replaces, and why it did, each time.

A baseline that moved by itself would let small steps add up unseen.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from fqtbench.clock import now
from fqtbench.durable import sync_folder, write_durably
from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment import provenance
from fqtbench.experiment.committed import copy_results, suite_entry
from fqtbench.experiment.store import JOURNAL
from fqtbench.regression.compare import compare
from fqtbench.regression.rules import Gate
from fqtbench.regression.side import Side, load_side
from fqtbench.regression.verdict import FAILURES
from fqtbench.regression.words import sentence

HISTORY: Final = "history.json"
PROFILES: Final = "profiles"
_FORMAT: Final = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Replacement(_Strict):
    """One replacement of a baseline: when and why, by which fqtbench, with what results.

    `recorded_with`: versions of the results that became the baseline, `firmware` theirs by board model. `accepted`:
    what got worse by it, `incomparable`: what could not be compared with the baseline before.
    """

    time: str
    reason: str
    by: dict[str, JsonValue]
    suite_sha256: str
    n_runs: int
    recorded_with: dict[str, JsonValue]
    firmware: dict[str, str]
    accepted: tuple[str, ...] = ()
    incomparable: tuple[str, ...] = ()


class History(_Strict):
    """All replacements of a baseline, the first one first."""

    format: Literal[1] = _FORMAT
    replacements: tuple[Replacement, ...] = ()


def read_history(baseline: Path) -> History:
    """Return a baseline's history, an empty one if it has none; ResultError if it can't be read."""
    path = baseline / HISTORY
    try:
        return History.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return History()
    except (OSError, ValidationError) as error:
        raise ResultError(f"{path}: no history of a baseline; restore it from a copy") from error


def update_baseline(baseline: Path, current: Path, reason: str) -> Replacement:
    """Replace `baseline` by what is recorded in `current`; returns what the history says of it.

    The old baseline stays whole until the new one is. Raises UsageError and ResultError.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("--reason: say why the baseline changes; its history keeps that")
    if baseline.resolve() == current.resolve():
        raise UsageError(f"{current} is the baseline itself; give the results that are to replace it")
    side = load_side(current)
    _check_whole(current, side)
    replacement = _describe(baseline, current, side, reason)
    earlier = read_history(baseline).replacements
    history = History(replacements=(*earlier, replacement))
    try:
        _replace(baseline, current, history)
    except OSError as error:
        raise ResultError(
            f"baseline {baseline}: can't be replaced: {error.strerror or error} ({error.filename}); it is as it was"
        ) from error
    return replacement


def _check_whole(folder: Path, side: Side) -> None:
    """A baseline lacks no run, and no line disturbed one."""
    try:
        planned = json.loads((folder / "manifest.json").read_text("utf-8"))["runs"]
        missing = {str(run["run_id"]) for run in planned} - {run.facts.run_id for run in side.runs}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{folder}: its manifest.json can't be read: {error}; run the suite anew"
        ) from error
    if missing or not side.runs:
        raise UsageError(f"{folder}: {len(missing)} of its runs are missing; go on by --resume first")
    for run in side.runs:
        if run.facts.perturbed:
            raise UsageError(
                f"{folder}: the line of {run.facts.label} was disturbed, so its times are not exact; run it again first"
            )


def _describe(baseline: Path, current: Path, side: Side, reason: str) -> Replacement:
    here, then = provenance.environment(), side.runs[0].facts.environment
    accepted, incomparable = _against(baseline, side)
    return Replacement(
        time=now(),
        reason=reason,
        by={key: here[key] for key in ("fqtbench", "git", "python")},
        suite_sha256=suite_entry(current)["sha256"],
        n_runs=len(side.runs),
        recorded_with={key: then.get(key) for key in ("fqtbench", "git", "python", "libraries")},
        firmware={run.board_model: run.facts.firmware.sha256 for run in side.runs},
        accepted=accepted,
        incomparable=incomparable,
    )


def _against(baseline: Path, side: Side) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say what gets worse by the new baseline, however little."""
    if not baseline.exists() or not any(baseline.iterdir()):
        return (), ()
    before = load_side(baseline)
    if before.suite != side.suite:
        raise UsageError(
            f"{baseline} is a baseline of suite {before.suite}, not {side.suite}; give another one"
        )
    comparison = compare(before, side, Gate())
    return tuple(map(sentence, comparison.having(*FAILURES))), comparison.unusable


def _replace(baseline: Path, current: Path, history: History) -> None:
    """Make the new baseline beside the old one; then two renames."""
    baseline.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{baseline.name}-", dir=baseline.parent))
    try:
        new, old = work / "new", work / "old"
        copy_results(current, new)
        (new / ".lock").unlink(missing_ok=True)
        if (current / PROFILES).is_dir():
            shutil.copytree(current / PROFILES, new / PROFILES, ignore=shutil.ignore_patterns("baseline"))
        write_durably(new / HISTORY, _json(history.model_dump(mode="json")))
        sync_folder(new)
        if baseline.exists():
            baseline.rename(old)
        try:
            new.rename(baseline)
        except OSError:
            if old.exists():
                old.rename(baseline)
            raise
        sync_folder(baseline.parent)
    finally:
        if (baseline / JOURNAL).exists() or not (work / "old").exists():
            shutil.rmtree(work, ignore_errors=True)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
