"""The suite as its author writes it, checked. ``experiments/*.yaml`` are commented examples."""

import hashlib
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
)

from fqtbench import datasets
from fqtbench.datasets import Options
from fqtbench.errors import UsageError
from fqtbench.exchange.source import NetworkSource
from fqtbench.experiment import yaml_lines
from fqtbench.experiment.yaml_lines import Document
from fqtbench.paths import share
from fqtbench.schema import Location, explain, nearest
from fqtbench.training.spec import NetworkSpec, TrainingSpec

MAX_RUNS: Final = 10_000
_SWEEP: Final = "sweep."
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSpec(Options):
    """A dataset by name, or in the folder `path`; `train` and `test` take class-balanced parts of it.

    `seed` draws those parts, and the textures of `colour`: runs that differ in nothing but the run's own seed see the
    same images. What else may be asked of a dataset: `Options`.
    """

    name: str
    path: Path | None = None
    train: Count | None = None
    test: Count | None = None
    seed: Seed = 0


def _network_kind(value: Any) -> str:
    given = isinstance(value, NetworkSource) or (isinstance(value, dict) and "onnx" in value)
    return "NetworkSource" if given else "NetworkSpec"


Network = Annotated[
    Annotated[NetworkSpec, Tag("NetworkSpec")] | Annotated[NetworkSource, Tag("NetworkSource")],
    Discriminator(_network_kind),
]


class EnergySpec(_Strict):
    """How the trained network's inferences are measured, by five windows of `window_s` each (docs/power.md)."""

    procedure: Literal["mlperf-tiny"]
    window_s: Annotated[float, Field(gt=0, le=3600)] = 10.0


class RunSpec(_Strict):
    """Everything that decides one run's numbers, except firmware, data and board.

    `verify`: the first so many training steps are computed by the reference on the host, too, and the trained state
    must agree bit for bit; 0 turns that off. `energy`: what is measured once it is trained.
    """

    dataset: DatasetSpec
    network: Network
    training: TrainingSpec = TrainingSpec()
    seed: Seed = 0
    verify: Annotated[int, Field(ge=0, le=100_000)] = 200
    energy: EnergySpec | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `energy` where nothing is asked: runs keep the identity that they had before there was the key."""
        data: dict[str, Any] = serialize(self)
        if self.energy is None:
            data.pop("energy", None)
        return data

    def canonical(self) -> dict[str, Any]:
        """Return it as JSON data, with every default written out."""
        return self.model_dump(mode="json")


class SuiteSpec(RunSpec):
    """A suite: one run, or the cartesian product of `sweep` over it.

    A key of `sweep` is the dotted path of any key of a run (``training.batch``, ``network.layers.0.filters``), its
    value the list of values to take. `deadline_s` bounds one run, flashing included. `quick`: dotted keys, of the
    sweep too (``sweep.seed``), with the values that they have where a short trial of everything is wanted.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    title: str = ""
    boards: Annotated[tuple[str, ...], Field(min_length=1)] = ("virtual-nrf52840",)
    sweep: dict[str, Annotated[tuple[JsonValue, ...], Field(min_length=1)]] = {}
    deadline_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600.0
    quick: dict[str, JsonValue] = {}


@dataclass(frozen=True)
class Variant:
    """One point of the sweep: the keys that it sets, and the run that this gives."""

    assignment: dict[str, Any]
    spec: RunSpec

    @property
    def label(self) -> str:
        """What tells it from the others: ``batch=8, seed=1``; empty if there is no sweep."""
        short = {key.rpartition(".")[2]: value for key, value in self.assignment.items()}
        items = short if len(short) == len(self.assignment) else self.assignment
        return ", ".join(f"{key}={_brief(value)}" for key, value in items.items())


@dataclass(frozen=True)
class Suite:
    """A suite that was read and checked."""

    document: Document
    spec: SuiteSpec
    variants: tuple[Variant, ...]

    @property
    def sha256(self) -> str:
        """Identity of the suite: hash of its checked content, so that a comment changes nothing."""
        return hashlib.sha256(
            canonical_json(self.spec.model_dump(mode="json", exclude={"boards", "quick"}))
        ).hexdigest()

    def where(self, *location: str | int) -> str:
        """Return "file:line" of a key."""
        return self.document.where(location)


def canonical_json(value: Any) -> bytes:
    """Return the one way to write `value`: keys sorted, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def find_suite(name: str) -> Path:
    """Return the file of suite `name`: a path, or the name of a suite that comes with the package."""
    path = Path(name)
    if path.is_file():
        return path
    return packaged_suite(name)


def packaged_suite(name: str) -> Path:
    """Return the file of a suite that comes with the package; UsageError if there is none of that name."""
    packaged = {file.stem: file for file in share("experiments").rglob("*.yaml")}
    if name in packaged:
        return packaged[name]
    raise UsageError(
        f"suite {name}: no such file, and no packaged suite of that name{nearest(name, packaged)}"
    )


def load_suite(path: Path, *, quick: bool = False) -> Suite:
    """Read and check a suite, on demand as its `quick` has it; UsageError names file, line, key, nearest name."""
    document = read_document(path)
    return check_suite(_shortened(document) if quick else document)


def read_document(path: Path) -> Document:
    """Return the mapping of keys that a suite's file is, unchecked; UsageError if it is none."""
    document = yaml_lines.read(path)
    if not isinstance(document.data, dict):
        raise UsageError(f"{document.where(())}: a suite is a mapping of keys (name, dataset, network, …)")
    return document


def check_suite(document: Document) -> Suite:
    """Return the suite that the mapping `document` describes; UsageError as of `load_suite`."""
    try:
        spec = SuiteSpec.model_validate(document.data)
    except ValidationError as error:
        raise UsageError(explain(error, SuiteSpec, document.data, document.where)) from error
    variants = tuple(_expand(document, spec))
    for variant in variants:
        _check_dataset(document, variant)
    return Suite(document, spec, variants)


def _shortened(document: Document) -> Document:
    """Return the suite with the values of its key `quick`."""
    data = json.loads(json.dumps(document.data, default=str))
    given = data.pop("quick", None)
    if not isinstance(given, dict):
        raise UsageError(f"{document.where(())}: the suite has no `quick` keys; run it whole")
    for key, value in given.items():
        if key.startswith(_SWEEP):
            data.setdefault("sweep", {})[key.removeprefix(_SWEEP)] = value
        else:
            _assign(document, data, key, value, ("quick", key))
    return replace(document, data=data)


def _expand(document: Document, spec: SuiteSpec) -> list[Variant]:
    n_runs = 1
    for values in spec.sweep.values():
        n_runs *= len(values)
    if n_runs > MAX_RUNS:
        raise UsageError(
            f"{document.where(('sweep',))}: sweep: {n_runs} runs are more than the limit of {MAX_RUNS}"
        )
    base = {key: value for key, value in document.data.items() if key in RunSpec.model_fields}
    return [
        _variant(document, base, dict(zip(spec.sweep, values, strict=True)))
        for values in itertools.product(*spec.sweep.values())
    ]


def _variant(document: Document, base: dict[str, Any], assignment: dict[str, Any]) -> Variant:
    data = json.loads(json.dumps(base, default=str))
    for key, value in assignment.items():
        _assign(document, data, key, value, ("sweep", key))

    def where(location: Location) -> str:
        """A wrong value may come from the sweep: then point there."""
        path = ".".join(map(str, location))
        source = next((key for key in assignment if path == key or path.startswith(f"{key}.")), None)
        return document.where(("sweep", source)) if source else document.where(location)

    try:
        return Variant(assignment, RunSpec.model_validate(data))
    except ValidationError as error:
        raise UsageError(explain(error, RunSpec, data, where)) from error


def _assign(document: Document, data: Any, key: str, value: Any, source: Location) -> None:
    """Set the dotted `key` in `data`, making mappings on the way; the schema then says whether it exists."""
    parts: list[str | int] = [int(part) if part.isdigit() else part for part in key.split(".")]
    here = data
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if isinstance(here, list):
            if not isinstance(part, int) or part >= len(here):
                where = document.where(source)
                raise UsageError(
                    f"{where}: {source[0]} key {key}: {part} is no index into a list of {len(here)}"
                )
        elif not isinstance(here, dict):
            where = document.where(source)
            raise UsageError(f"{where}: {source[0]} key {key}: there is nothing below {parts[number - 1]}")
        elif not last:
            here.setdefault(part, {})
        if last:
            here[part] = value
        else:
            here = here[part]


def _check_dataset(document: Document, variant: Variant) -> None:
    name = variant.spec.dataset.name
    if name not in datasets.names():
        swept = ("sweep", "dataset.name")
        where = document.where(swept if "dataset.name" in variant.assignment else ("dataset", "name"))
        raise UsageError(f"{where}: dataset.name: unknown dataset {name}{nearest(name, datasets.names())}")
    known = datasets.find(name).options
    try:
        variant.spec.dataset.check(name, known)
    except UsageError as error:
        key = variant.spec.dataset.unknown(known)[0]
        swept = ("sweep", f"dataset.{key}")
        where = document.where(swept if f"dataset.{key}" in variant.assignment else ("dataset", key))
        raise UsageError(f"{where}: {error}") from error


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}…{hashlib.sha256(text.encode()).hexdigest()[:3]}"
