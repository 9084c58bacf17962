"""Which layer and which function a slow-down comes from, where both sides have a profile.

``profiles/<board model>/profile.json`` of a results folder is the profile of the suite's first run on that kind of
board. Where a baseline has none, its firmware, which the results folder keeps, is profiled anew.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from fqtbench.board import BoardInstance
from fqtbench.errors import BoardError, ImageError, ResultError, UsageError
from fqtbench.experiment.metrics import Source
from fqtbench.profile.diff import Change, changes
from fqtbench.profile.engine import Phase
from fqtbench.profile.folder import write_folder
from fqtbench.profile.model import FILE_NAME, Profile, read_profile
from fqtbench.profile.take import OtherFirmware, Request, take_profile
from fqtbench.regression.baseline import PROFILES
from fqtbench.regression.side import RunSide, Side
from fqtbench.regression.verdict import FAILURES, Comparison, Finding
from fqtbench.regression.words import percent

_OF_BASELINE: Final = "baseline"
_ALIKE: Final = ("image_sha256", "after", "steps", "batch", "timing_model_id")
_SHOWN: Final = 2  # layers, and functions
_LAYER_PHASES: Final = {
    "forward": (Phase.FORWARD,),
    "backward": (
        Phase.SELECT,
        Phase.ERROR,
        Phase.GRADIENT,
        Phase.UPDATE,
    ),  # at batch 1 a gradient is applied at once
    "update": (Phase.UPDATE,),
}


def profile_path(folder: Path, board_model: str) -> Path:
    """Return where a results folder keeps the profile of its first run on a kind of board."""
    return folder / PROFILES / board_model


def take_current(request: Request, current: Side) -> Profile:
    """Profile the suite's first run on one board, with today's firmware; raises BoardError and ResultError."""
    profile, firmware = take_profile(request)
    write_folder(profile, firmware, profile_path(current.folder, request.model.name))
    return profile


def baseline_profile(
    request: Request, baseline: Side, current: Side, tell: Callable[[str], None]
) -> Profile | None:
    """Return the baseline's profile, kept or taken anew; if there is none, it tells why."""
    kept = profile_path(baseline.folder, request.model.name)
    try:
        if (kept / FILE_NAME).is_file():
            return read_profile(kept)
        return _profile_again(request, baseline, current)
    except (BoardError, ImageError, ResultError, UsageError) as error:
        tell(f"no profile of the baseline on {request.model.name}: {error}")
        return None


def explain(comparison: Comparison, current: Side, before: Profile, now: Profile) -> Comparison:
    """Add layers and functions to what got slower in the run that was profiled."""
    first = _first(current, now.subject.board_model)
    unlike = [name for name in _ALIKE if getattr(before.subject, name) != getattr(now.subject, name)]
    if unlike:
        note = f"profiles of {now.subject.board_model} differ in {', '.join(unlike)}; no layer is named"
        return comparison.model_copy(update={"notes": (*comparison.notes, note)})
    findings = [_explained(finding, first, before, now) for finding in comparison.findings]
    return comparison.model_copy(update={"findings": tuple(findings)})


def profilable(boards: Iterable[BoardInstance]) -> list[BoardInstance]:
    """Return the first board of each model that has a profiler."""
    able = {board.model: board for board in reversed(list(boards)) if board.profiler}
    return list(reversed(able.values()))


def _profile_again(request: Request, baseline: Side, current: Side) -> Profile:
    """Profile the baseline's firmware, which its folder keeps, with the image that both have."""
    old, new = (_first(side, request.model.name) for side in (baseline, current))
    if old is None or new is None or old.facts.identity.image != new.facts.identity.image:
        raise ResultError(
            "its image is another one; `baseline update` keeps the profile that --profile takes"
        )
    elf = baseline.folder / "artifacts" / Path(old.facts.firmware.sha256).name
    try:
        data = elf.read_bytes()
    except OSError as error:
        raise ResultError(f"{elf}: can't be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != old.facts.firmware.sha256:
        raise ResultError(f"{elf}: not the firmware of that hash")
    firmware = OtherFirmware(elf, old.facts.firmware.sha256, old.facts.firmware.build_id)
    profile, symbols = take_profile(replace(request, firmware=firmware))
    write_folder(profile, symbols, profile_path(current.folder, _OF_BASELINE) / request.model.name)
    return profile


def _first(side: Side, board_model: str) -> RunSide | None:
    return next((run for run in side.runs if run.board_model == board_model), None)


def _explained(finding: Finding, first: RunSide | None, before: Profile, now: Profile) -> Finding:
    slower = (
        finding.verdict in FAILURES and finding.about.source is Source.CYCLES and (finding.change or 0) > 0
    )
    if not slower or first is None or first.facts.run_id not in finding.run_ids:
        return finding
    phases = _LAYER_PHASES[finding.phase] if finding.phase else tuple(Phase)
    endings = tuple(f" {phase.title}" for phase in phases)
    layers = [c for c in changes(before, now) if c.kind == "layer" and c.name.endswith(endings)]
    causes = [*_causes(layers), *_causes(_functions(before, now, phases))]
    return finding.model_copy(update={"causes": tuple(causes)})


def _functions(before: Profile, now: Profile, phases: Iterable[Phase]) -> list[Change]:
    """Return what functions themselves cost in these phases alone: waiting for a line is nobody's slow-down."""
    old, new = (_own_cycles(profile, {phase.key for phase in phases}) for profile in (before, now))
    names = dict.fromkeys([*old, *new])
    found = [Change("function", name, "cycles", old.get(name), new.get(name)) for name in names]
    return sorted(found, key=lambda change: (-change.difference, change.name))


def _own_cycles(profile: Profile, phases: Container[str]) -> dict[str, float]:
    """Return cycles a step by function."""
    cycles: defaultdict[str, float] = defaultdict(float)
    for stack in profile.stacks:
        if stack.phase in phases:
            cycles[stack.frames[-1]] += stack.cycles / profile.subject.steps
    return cycles


def _causes(found: Iterable[Change]) -> list[str]:
    """Say what costs more, the largest first."""
    return [_cause(change) for change in found if change.difference > 0][:_SHOWN]


def _cause(change: Change) -> str:
    share = "" if change.ratio is None else f" ({percent(change.ratio)})"
    return f"{change.kind} {change.name}: {change.difference:+,.0f} {change.unit} a step{share}"
