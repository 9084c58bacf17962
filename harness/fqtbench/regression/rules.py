"""How much worse each metric may get: gate.toml, and what holds without one."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fqtbench.errors import UsageError
from fqtbench.experiment.metrics import BY_NAME
from fqtbench.schema import explain, nearest

DEFAULT_THRESHOLD: Final = 0.03
_LIMIT_BYTES: Final = 1 << 20
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Strict):
    """What one metric may do, as fractions of the baseline's value.

    `allowance`: by how much an exact metric may get worse. `threshold`: what the interval of a noisy one must lie
    within, or wholly beyond. `ignore`: it is not compared.
    """

    allowance: Fraction = 0.0
    threshold: Annotated[Fraction, Field(gt=0)] = DEFAULT_THRESHOLD
    ignore: bool = False


class _Rules(_Strict):
    default: Rule = Rule()
    metrics: dict[str, Rule] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.metrics:
            if name not in BY_NAME:
                raise ValueError(f"unknown metric {name}{nearest(name, BY_NAME)}")
        return self

    def layers(self, metric: str) -> list[Rule]:
        """Return what is said of a metric, the more special the later."""
        return [self.default, *([self.metrics[metric]] if metric in self.metrics else [])]


class Gate(_Rules):
    """A gate.toml: rules for every metric, for single ones, and for single suites, of which the most special holds."""

    suites: dict[str, _Rules] = {}

    def rule(self, suite: str, metric: str) -> Rule:
        """Return the rule of a metric in a suite."""
        layers = self.layers(metric)
        if suite in self.suites:
            layers += self.suites[suite].layers(metric)
        said = {key: getattr(layer, key) for layer in layers for key in layer.model_fields_set}
        return Rule(**said)


def load_gate(path: Path | None) -> Gate:
    """Read a gate.toml; without one, no exact metric may get worse. UsageError says which key is wrong."""
    if path is None:
        return Gate()
    data = _read(path)
    try:
        return Gate.model_validate(data)
    except ValidationError as error:
        raise UsageError(explain(error, Gate, data, lambda _: str(path))) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if len(raw) > _LIMIT_BYTES:
            raise UsageError(f"{path}: {len(raw)} bytes are too many for a gate")
        return tomllib.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
