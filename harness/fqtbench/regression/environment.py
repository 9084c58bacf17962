"""What must be the same on both sides, so that a difference is the subject's: its firmware's and image's."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from fqtbench.board import BoardModel
from fqtbench.experiment.spec import RunSpec
from fqtbench.regression.side import SEED, RunSide

_WORDS_ONLY: Final = (("title",), ("supply", "source"))  # of a board model
_EMULATOR: Final = "unicorn"
_ABSENT: Final = "not recorded"


def differences(baseline: RunSide, current: RunSide) -> dict[str, str]:
    """Return by key "key: value, now value" of each part of the environment that differs; a seed doesn't belong to it.

    What one side alone records differs: nobody knows that it was the same.
    """
    old, new = dict(_environment(baseline)), dict(_environment(current))
    for name in (name for name in baseline.metrics if name in current.metrics):
        old[f"origin of {name}"], new[f"origin of {name}"] = (
            side.metrics[name].origin for side in (baseline, current)
        )
    if baseline.seed != current.seed:
        del old["sample order"], new["sample order"]
    return {
        key: f"{key}: {_show(old.get(key))}, now {_show(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    }


def subject(run: RunSide) -> dict[str, str]:
    """Return what a comparison is about, and what may therefore differ."""
    flags = run.facts.firmware.manifest.get("flags")
    return {
        "firmware": run.facts.firmware.sha256[:12],
        "image": run.facts.identity.image[:12],
        "compiler flags": " ".join(map(str, flags)) if isinstance(flags, list) else "",
    }


def _environment(run: RunSide) -> Iterator[tuple[str, Any]]:
    facts, identity = run.facts, run.facts.identity
    yield from _flat("board", _without_words(_whole(BoardModel, identity.board)))
    spec = {key: value for key, value in _whole(RunSpec, identity.spec).items() if key != SEED}
    yield from _flat("run", spec)
    yield "samples", identity.samples
    yield "sample order", identity.order
    manifest = facts.firmware.manifest
    yield "arith_id", facts.device.get("arith_id", manifest.get("arith_id"))
    yield "toolchain", manifest.get("toolchain")
    yield "timing model", facts.timing_model_id
    yield "power model", facts.power_model_id
    if (
        facts.timing_model_id is not None
    ):  # which says what a block costs; what is executed, the emulator does
        libraries = facts.environment.get("libraries")
        yield "emulator", libraries.get(_EMULATOR) if isinstance(libraries, dict) else None


def _whole(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` with every default written out, also of keys that are younger than the result."""
    try:
        return model.model_validate(data).model_dump(mode="json")
    except ValidationError:
        return data


def _without_words(board: dict[str, Any]) -> dict[str, Any]:
    kept = dict(board)
    for *path, last in _WORDS_ONLY:
        part = kept
        for key in path:
            inner = part.get(key)
            part[key] = dict(inner) if isinstance(inner, dict) else {}
            part = part[key]
        part.pop(last, None)
    return kept


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of everything in nested data."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _flat(f"{name}.{number}", inner)
    else:
        yield name, value


def _show(value: Any) -> str:
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
