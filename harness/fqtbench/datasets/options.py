"""What a suite may ask of a dataset besides its name: which part, cut how, changed how."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from fqtbench.errors import UsageError

Subjects = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]

TRANSFORMS: Final = frozenset({"mirror", "rotate", "colour"})


class Options(BaseModel):
    """Each dataset knows some of these keys; their defaults change nothing, and don't count for a run's identity.

    - `mirror`: images from right to left
    - `rotate`: degrees by which images are turned, counter-clockwise
    - `colour`: grey images become 32×32 colour images over procedural textures
    - `subjects`, `test_subjects`: whose recordings are trained on and tested; by default all others than the other
    - `size`: side of the images, pixels
    - `window`, `step`: length of a window of a time series and distance of its successor, samples
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mirror: bool = False
    rotate: Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)] = 0.0
    colour: bool = False
    subjects: Subjects | None = None
    test_subjects: Subjects | None = None
    size: Annotated[int, Field(ge=1, le=512)] | None = None
    window: Annotated[int, Field(ge=1, le=65_535)] | None = None
    step: Annotated[int, Field(ge=1, le=65_535)] | None = None

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A suite that uses none of them keeps the identity that it had before they existed."""
        written = handler(self)
        unused = Options.model_fields.keys() - self.given()
        return {key: value for key, value in written.items() if key not in unused}

    def given(self) -> frozenset[str]:
        """Return the keys that ask for something."""
        fields = Options.model_fields
        return frozenset(key for key in fields if getattr(self, key) != fields[key].default)

    def only(self, keys: Iterable[str]) -> "Options":
        """Return these options with all others than `keys` at their defaults."""
        return Options(**{key: getattr(self, key) for key in Options.model_fields.keys() & set(keys)})

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Return the keys that ask for something and are none of `known`."""
        return sorted(self.given() - set(known))

    def check(self, name: str, known: Iterable[str]) -> None:
        """Raise UsageError if a key is given that the dataset `name`, which knows `known`, can't use."""
        for key in self.unknown(known):
            knows = f"it knows {', '.join(sorted(known))}" if known else "it has no options"
            raise UsageError(f"dataset {name}: {key} does not apply to it; {knows}")


NO_OPTIONS: Final = Options()
