"""What a worker is told to do; JSON on its standard input, one job a line."""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from fqtbench import datasets
from fqtbench.bench.lock import PATIENCE_S
from fqtbench.bench.recovery import Rung, rungs_of
from fqtbench.board import BoardInstance, BoardModel
from fqtbench.datasets import Dataset, Options, transform
from fqtbench.datasets.options import TRANSFORMS

MAX_PATIENCE_S: Final = 7 * 24 * 3600.0


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    retried: ClassVar[bool] = False
    """Whether the job is worth bringing a board back for; of the others, a person wants the first failure."""


class Charge(_Job):
    """The first line that a worker reads: the board that it is in charge of.

    `patience_s`: how long it waits for a probe that somebody else holds. `may_erase`: whether the chip may be erased if
    nothing else brings the board back, also where the board's own description doesn't say so.
    """

    instance: BoardInstance
    model: BoardModel
    patience_s: Annotated[float, Field(ge=0, le=MAX_PATIENCE_S)] = PATIENCE_S
    may_erase: bool = False

    @property
    def rungs(self) -> frozenset[Rung]:
        """The rungs of the ladder that the board has."""
        return rungs_of(self.instance, self.model, self.may_erase or self.instance.recover)


class DatasetRef(Options):
    """Which samples: the arguments of `datasets.load` and `Dataset.subset`, paths absolute."""

    name: str
    root: Path | None = None
    train: int | None = None
    test: int | None = None
    seed: int = 0

    def load(self) -> Dataset:
        """Load them."""
        return self.part_of(self.load_whole())

    def whole(self) -> "DatasetRef":
        """Return the reference to the dataset that they are a part of, its images not turned or coloured."""
        return DatasetRef(name=self.name, root=self.root, **dict(self.only(self.given() - TRANSFORMS)))

    def load_whole(self) -> Dataset:
        """Load the dataset that they are a part of."""
        return datasets.load(self.name, self.root, self.whole())

    def part_of(self, whole: Dataset) -> Dataset:
        """Return them from what `load_whole` returned, for this reference or for one that asks for other parts."""
        return transform(whole.subset(self.train, self.test, self.seed), self, self.seed)


class TensorRef(_Job):
    """A tensor to read out after the training."""

    name: str
    index: int
    n_bytes: int


class EnergyProcedure(_Job):
    """How inferences are measured after the training: by windows of `window_s` each, of which the median counts."""

    procedure: Literal["mlperf-tiny"]
    window_s: Annotated[float, Field(gt=0, le=3600)]


class TrainJob(_Job):
    """One run: flash, train, evaluate after each epoch, read the trained tensors.

    `verify` steps are compared with the reference on the host; 0 compares none. `trained_layers` are the names of the
    layers of which a step reports how many structures it updated. `samples_sha256` is that of the dataset's files that
    the run was planned with: another host's may be others.
    """

    retried: ClassVar[bool] = True
    kind: Literal["train"] = "train"
    elf: Path
    build_id: str
    image: Path
    image_crc32: int
    dataset: DatasetRef
    samples_sha256: str | None = None
    n_classes: int
    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    seed: int
    verify: Annotated[int, Field(ge=0)]
    tensors: tuple[TensorRef, ...]
    trained_layers: tuple[str, ...]
    energy: EnergyProcedure | None = None


class Marker(_Job):
    """A function whose call begins a section of the caller (docs/profiling.md); `argument` None: the element stays."""

    function: int
    section: int
    argument: int | None
    base: int = 0
    stride: int = 1


class Watch(_Job):
    """What a profiler follows: functions (first address, end), those that are cut (address, section), their markers."""

    functions: tuple[tuple[int, int], ...]
    cut: tuple[tuple[int, int], ...]
    markers: tuple[Marker, ...]


class ProfileJob(_Job):
    """The first steps of a training: `after` of them as they are, then `steps` of them under the profiler."""

    retried: ClassVar[bool] = True
    kind: Literal["profile"] = "profile"
    train: TrainJob
    watch: Watch
    after: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=1)]


class FlashJob(_Job):
    """Program and verify the firmware, and a model image if one is given; then reset."""

    retried: ClassVar[bool] = True
    kind: Literal["flash"] = "flash"
    elf: Path
    image: Path | None = None


class ResetJob(_Job):
    """Reset the board and let it run."""

    kind: Literal["reset"] = "reset"


class RecoverJob(_Job):
    """Erase the whole chip, which also opens a locked one."""

    kind: Literal["recover"] = "recover"


class ExamineJob(_Job):
    """Try the probe, then the line, and say what came of it. `program`: the firmware, if it isn't on the chip yet."""

    kind: Literal["examine"] = "examine"
    elf: Path
    build_id: str
    program: bool = False


class PowerJob(_Job):
    """Show what the power monitor samples for `seconds`; then, with `wiring`, try whether the trigger pin is wired.

    `trace`: the file that all samples go to.
    """

    kind: Literal["power"] = "power"
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    wiring: bool = True
    trace: Path | None = None


class RestoreJob(_Job):
    """Take one rung of the ladder, so that the next job may find a board that works."""

    kind: Literal["restore"] = "restore"
    rung: Rung


AnyJob = TrainJob | ProfileJob | FlashJob | ResetJob | RecoverJob | ExamineJob | PowerJob | RestoreJob
JOBS: TypeAdapter[AnyJob] = TypeAdapter(Annotated[AnyJob, Field(discriminator="kind")])


def epoch_order(n_samples: int, batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch takes its training samples, (n,) with n a multiple of `batch`.

    A permutation drawn by (seed, epoch), without its last incomplete mini-batch.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    return generator.permutation(n_samples)[: n_samples // batch * batch]
