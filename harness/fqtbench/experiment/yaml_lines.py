"""YAML with line numbers, so that a message can point at the line that is wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fqtbench.errors import UsageError
from fqtbench.schema import Location

_LIMIT_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 32


@dataclass(frozen=True)
class Document:
    """A YAML file's data, and the line of each key and list item."""

    path: Path
    data: Any
    lines: dict[Location, int]

    def where(self, location: Location) -> str:
        """Return "file:line" of `location`, or of the nearest thing around it that has a line."""
        parts = location
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return f"{self.path}:{self.lines.get(parts, 1)}"


def read(path: Path) -> Document:
    """Read a YAML file; UsageError with file and line if it is none, or says the same key twice."""
    try:
        raw = path.read_bytes()
        if len(raw) > _LIMIT_BYTES:
            raise UsageError(f"{path}: {len(raw)} bytes are too many for a suite")
        root = yaml.compose(raw.decode("utf-8"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError:
        raise UsageError(f"{path}:1: nested far too deep") from None
    lines: dict[Location, int] = {}
    return Document(path, _build(root, (), path, lines), lines)


def _build(node: yaml.Node | None, location: Location, path: Path, lines: dict[Location, int]) -> Any:
    if node is None:
        return None
    lines.setdefault(location, node.start_mark.line + 1)
    if len(location) > _MAX_DEPTH:
        raise UsageError(
            f"{path}:{node.start_mark.line + 1}: nested more than {_MAX_DEPTH} deep; an anchor in itself?"
        )
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, location, path, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*location, index), path, lines) for index, item in enumerate(node.value)]
    return _scalar(node, path)


def _build_mapping(
    node: yaml.MappingNode, location: Location, path: Path, lines: dict[Location, int]
) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in built:
            raise UsageError(
                f"{path}:{line}: {key} is there twice; the first is in line {lines[(*location, key)]}"
            )
        lines[(*location, key)] = line
        built[key] = _build(value_node, (*location, key), path, lines)
    return built


def _scalar(node: yaml.Node, path: Path) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(
            f"{path}:{node.start_mark.line + 1}: can't read {node.value!r} as a value"
        ) from error
    finally:
        loader.dispose()
