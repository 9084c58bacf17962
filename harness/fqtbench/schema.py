"""From a pydantic error to one sentence that its reader can act on."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

Location = tuple[str | int, ...]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" with the nearest of `known`, or the list of them if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(names)}" if names else ""


def dotted(location: Location) -> str:
    """Return a location as a user writes it: ``network.layers.0.filters``."""
    return ".".join(str(part) for part in location)


def explain(
    error: ValidationError, model: type[BaseModel], data: Any, locate: Callable[[Location], str]
) -> str:
    """Return one sentence on the first problem of `error`, found while `model` was read from `data`.

    `locate` turns a location in `data` into "file:line". A misspelt key comes before what is wrong because of it.
    """
    problems = sorted(error.errors(include_url=False), key=_weight)
    problem = problems[0]
    location = within(data, problem["loc"])
    sentence = _sentence(problem, location, model)
    more = (
        f" ({len(problems) - 1} more after it)" if len(problems) > 1 and problem["type"] != "missing" else ""
    )
    return f"{locate(location)}: {sentence}{more}"


def _weight(problem: Any) -> tuple[bool, int]:
    return problem["type"] != "extra_forbidden", -len(problem["loc"])


def within(data: Any, location: Iterable[str | int]) -> Location:
    """Drop the parts of a pydantic location that name a member of a union instead of a place in `data`.

    A last part that `data` lacks (a missing key) stays.
    """
    parts = list(location)
    found: list[str | int] = []
    for index, part in enumerate(parts):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif not (isinstance(data, dict) and index == len(parts) - 1 and isinstance(part, str)):
            continue
        found.append(part)
    return tuple(found)


def _sentence(problem: Any, location: Location, model: type[BaseModel]) -> str:
    key = dotted(location)
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {key}{nearest(str(location[-1]), fields_at(model, problem['loc'][:-1]))}"
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
            return f"{key}: unknown type {problem['ctx']['tag']}{nearest(problem['ctx']['tag'], tags)}"
        case "union_tag_not_found":
            return f"{key}: its type is missing"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
        case _:
            text = problem["msg"]
            return f"{key}: {text[:1].lower()}{text[1:]}, not {problem['input']!r:.60}"


def fields_at(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Return the keys that `model` knows at a pydantic location (union tags included)."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        tagged = [m for m in models if _tag(m) == part or m.__name__ == part]
        inner = [
            m
            for owner in models
            if part in owner.model_fields
            for m in _models_in(owner.model_fields[str(part)].annotation)
        ]
        models = tagged or inner or models
    return [name for m in models for name in m.model_fields]


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("type")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
