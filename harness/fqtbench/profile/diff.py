"""What changed between two profiles."""

from collections.abc import Iterator
from dataclasses import dataclass

from fqtbench.profile.engine import Phase
from fqtbench.profile.model import Profile

Key = tuple[str, str]  # kind, name


@dataclass(frozen=True)
class Change:
    """One figure of two profiles; None where the profile has no such thing. Cycles are those of a step."""

    kind: str
    name: str
    unit: str
    before: float | None
    after: float | None

    @property
    def difference(self) -> float:
        """After less before, what is not there being 0."""
        return (self.after or 0.0) - (self.before or 0.0)

    @property
    def ratio(self) -> float | None:
        """Relative change; None where there is nothing to relate it to."""
        return self.difference / self.before if self.before else None


def changes(before: Profile, after: Profile) -> list[Change]:
    """Return what differs: cycles a step in all, by phase, layer and function; then bytes; each largest first."""
    rows: list[Change] = []
    for unit, figures in (("cycles", _cycles), ("bytes", _bytes)):
        old, new = dict(figures(before)), dict(figures(after))
        found = [
            Change(kind, name, unit, old.get((kind, name)), new.get((kind, name)))
            for kind, name in dict.fromkeys([*old, *new])
        ]
        different = [change for change in found if change.difference != 0]
        rows += sorted(different, key=lambda c: (-abs(c.difference), c.kind, c.name))
    return rows


def _cycles(profile: Profile) -> Iterator[tuple[Key, float]]:
    steps = profile.subject.steps
    yield ("step", "executed"), (profile.cycles - profile.asleep_cycles) / steps
    for phase in Phase:
        costs = [layer.phases.get(phase.key) for layer in profile.layers] + [profile.rest.get(phase.key)]
        yield ("phase", phase.title), sum(cost.cycles for cost in costs if cost) / steps
    for layer in profile.layers:
        for phase in Phase:
            cost = layer.phases.get(phase.key)
            if cost is not None:
                yield ("layer", f"{layer.name} {phase.title}"), cost.cycles / steps
    for function in profile.functions:
        yield ("function", function.name), function.own.cycles / steps


def _bytes(profile: Profile) -> Iterator[tuple[Key, float]]:
    memory = profile.memory
    yield ("stack", "peak"), memory.stack_peak_bytes
    yield ("arena", "peak"), memory.arena_peak_bytes
    yield ("image", "model image"), memory.image_bytes
    for kind, uses in (("section", memory.sections), ("symbol", memory.symbols)):
        for use in uses:
            yield (f"{kind} in flash", use.name), use.flash_bytes
            yield (f"{kind} in RAM", use.name), use.ram_bytes
