"""A profile: what profile.json holds. It is read back as a file that anybody may have written."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fqtbench.board import Origin
from fqtbench.errors import ResultError
from fqtbench.experiment.metrics import plus_minus

FORMAT: Final = 1
FILE_NAME: Final = "profile.json"
_MAX_FILE_BYTES: Final = 64 << 20

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Text = Annotated[str, Field(max_length=500)]
PhaseName = Literal["forward", "select", "error", "gradient", "update"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cost(_Strict):
    """Cycles and instructions, of all profiled steps together."""

    cycles: Count = 0
    instructions: Count = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(cycles=self.cycles + other.cycles, instructions=self.instructions + other.instructions)


class LayerCost(_Strict):
    """A layer's cost by phase, and its multiply-accumulates by phase, as if no error was zero; of all steps."""

    name: Text
    type: Text
    phases: dict[PhaseName, Cost]
    macs: dict[PhaseName, Count]


class FunctionCost(_Strict):
    """A function's own cost, and with all that it called; `calls` by other functions."""

    name: Text
    address: Count
    calls: Count
    own: Cost
    total: Cost


class BlockCost(_Strict):
    """A basic block; `instructions` of one execution, `cycles` of all."""

    address: Count
    size: Count
    function: Text
    executions: Count
    cycles: Count
    instructions: Count


class Stack(_Strict):
    """Cycles spent in the last function of a chain of calls; layer and phase are links of it."""

    frames: tuple[Text, ...]
    phase: PhaseName | None
    cycles: Count


class MemoryUse(_Strict):
    """Bytes that a section or symbol takes."""

    name: Text
    flash_bytes: Count
    ram_bytes: Count


class Memory(_Strict):
    """Memory in bytes: what the device reported, the model image, and what the ELF says."""

    stack_bytes: Count
    stack_peak_bytes: Count
    arena_bytes: Count
    arena_peak_bytes: Count
    image_bytes: Count
    sections: tuple[MemoryUse, ...]
    symbols: tuple[MemoryUse, ...]


class Subject(_Strict):
    """What was profiled: `steps` training steps, `after` others.

    `cycles_uncertainty`: the fraction by which a chip's cycles may differ, as the model that counts them states it.
    """

    suite: Text
    run: Text
    board: Text
    board_model: Text
    clock_hz: Annotated[int, Field(ge=1)]
    origin: Origin
    timing_model_id: Text | None
    cycles_uncertainty: Annotated[float, Field(ge=0, le=1)] | None = None
    firmware_sha256: Text
    build_id: Text
    image_sha256: Text
    after: Count
    steps: Annotated[int, Field(ge=1, lt=1 << 31)]
    batch: Annotated[int, Field(ge=1, lt=1 << 31)]

    @property
    def counted(self) -> str:
        """Where the cycles come from, with what is stated of them: "modelled ±6%"."""
        return self.origin + plus_minus(self.cycles_uncertainty)


class Device(_Strict):
    """The device's own cycle counts, of each profiled step."""

    forward_cycles: tuple[Count, ...]
    backward_cycles: tuple[Count, ...]
    update_cycles: tuple[Count, ...]


class Profile(_Strict):
    """A profile. The layers' cycles, `rest`, `outside` and `asleep` add up to `cycles`; so do the blocks' and `asleep`.

    `rest`: phases' cost of no layer; `outside`: what is no part of a phase, as frames and waiting; `asleep`: cycles in
    which nothing was executed; `strays`: jumps that no call explains.
    """

    format: Literal[1] = FORMAT
    subject: Subject
    cycles: Count
    asleep_cycles: Count
    strays: Count
    layers: tuple[LayerCost, ...]
    rest: dict[PhaseName, Cost]
    outside: Cost
    functions: tuple[FunctionCost, ...]
    blocks: tuple[BlockCost, ...]
    stacks: tuple[Stack, ...]
    device: Device
    memory: Memory


def read_profile(path: Path) -> Profile:
    """Read a profile from its folder or file; ResultError if it isn't one."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise ResultError(f"{file}: larger than any profile; is it one?")
        return Profile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ResultError(
            f"{file}: can't be read: {error.strerror}; `fqtbench profile SUITE` makes profiles"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ResultError(
            f"{file}: not a profile of format {FORMAT}: {where}: {first['msg']}; profile the suite again"
        ) from error
