"""What crosses the network, as JSON text: a host's card, a job, its events, its outcome. Parsed as a stranger's."""

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fqtbench.bench.job import Charge, TrainJob
from fqtbench.board import Name
from fqtbench.errors import LabError
from fqtbench.hosts.kit import Kit
from fqtbench.printable import printable

CARD: Final = "fqtbench"
"""Under this name a host's card is in its registration with the scheduler, and the scheduler's kit in its metadata."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Message = TypeVar("Message", bound=BaseModel)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfferedBoard(_Message):
    """A board that a host has. `resource` is what the scheduler knows it by; the host has one of it."""

    name: Name
    model: Name
    resource: str


class Card(_Message):
    """Who a host is and what it offers."""

    host: Name
    kit: Kit
    boards: tuple[OfferedBoard, ...]


class Order(_Message):
    """One run on one board of the receiving host.

    Of `charge` the host takes all but the board's instance, which is in its own bench file; of `job` all but the paths:
    the files come beside it, and must have these hashes. Events go to `topic`.
    """

    topic: str
    task: str
    charge: Charge
    job: TrainJob
    deadline_s: Annotated[float, Field(gt=0)]
    firmware_sha256: Sha256
    image_sha256: Sha256


class Failure(_Message):
    """Why a job was not done; `kind` is the error's class."""

    kind: str
    message: str
    traceback: str = ""


class Outcome(_Message):
    """How a job ended."""

    failure: Failure | None = None


class Said(_Message):
    """The `number`-th thing, from 0, that a host said of the job `key`: an event, or as the last one how it ended.

    A job's outcome is no result in Dask's sense: that would be lost with the host that has it, and made again unseen.
    """

    key: str
    number: Annotated[int, Field(ge=0)]
    event: dict[str, Any] | None = None
    outcome: Outcome | None = None


def parse(kind: type[Message], text: Any, whose: str) -> Message:
    """Return a message; LabError if it is none."""
    try:
        return kind.model_validate_json(text)
    except (ValidationError, TypeError) as error:
        raise LabError(
            f"{whose} sent no {kind.__name__.lower()} of this fqtbench: {printable(str(text)[:80])}; install the same "
            "fqtbench everywhere"
        ) from error
