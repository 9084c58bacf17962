"""Board models (what a kind of board is) and board instances (where one of them is).

A model comes from ``boards/*.toml``. An instance is a model and three addresses: a probe id, a serial URL, a power
monitor's URL; or a command that, launched, prints them as JSON in its first line of output. Instances come from
``bench.toml``; models that have a virtual chip bring the instance ``virtual-<model>`` with them. An instance of a
model whose link is a library has no address: ``host`` comes with the package, and each further one in ``bench.toml`` is
one more run at a time.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fqtbench.errors import UsageError
from fqtbench.paths import share
from fqtbench.schema import explain, nearest

BENCH_FILE: Final = Path("bench.toml")
Origin = Literal["measured", "modelled", "published"]
Address = Annotated[int, Field(ge=0, lt=2**32)]
Bytes = Annotated[int, Field(ge=1, lt=2**32)]
USB_SERIAL: Final = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4}):(\S(?:.*?\S)?)(?:-if([0-9a-f]{2}))?")
"""A serial port by its USB identity: vid:pid:serial, and where a device has several ports, -if and the interface, as
udev writes it. A serial number may contain colons."""
_MEANT_AS_USB: Final = re.compile(r"(0x)?[0-9A-Fa-f]{1,4}:(0x)?[0-9A-Fa-f]{1,4}(:.*)?")
Command = Annotated[tuple[str, ...], Field(min_length=1)]
_LABGRID: Final = ("labgrid-client",)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _check_serial(serial: str) -> str:
    if _MEANT_AS_USB.fullmatch(serial) and not USB_SERIAL.fullmatch(serial):
        raise ValueError(
            f"{serial} is no USB identity; write vid:pid:serial, vid and pid with four hexadecimal digits each, "
            "e.g. 0403:6001:A50285BI"
        )
    return serial


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(_Strict):
    """The chip's memories: where they begin, how many bytes they have, and which flash the model image may take."""

    flash_origin: Address
    flash_bytes: Bytes
    image_origin: Address
    image_bytes: Bytes
    ram_origin: Address
    ram_bytes: Bytes

    @model_validator(mode="after")
    def _image_in_flash(self) -> Self:
        end = self.flash_origin + self.flash_bytes
        if not self.flash_origin <= self.image_origin <= self.image_origin + self.image_bytes <= end:
            raise ValueError("the image's region lies outside the flash")
        return self


class Uart(_Strict):
    """The serial line; pins are numbered 32·port + pin."""

    baud: Annotated[int, Field(ge=1200)]
    tx_pin: int
    rx_pin: int
    rts_pin: int


class Trigger(_Strict):
    """The pin that is high during a measured phase."""

    pin: int


class Supply(_Strict):
    """Supply voltage in V, current in mA while the core computes and while it waits, and where that is stated."""

    volts: Annotated[float, Field(gt=0, le=60)]
    active_ma: Annotated[float, Field(gt=0)]
    idle_ma: Annotated[float, Field(ge=0)]
    source: str


class BoardModel(_Strict):
    """A kind of board, as its TOML file describes it, with the sources of its figures beside them there.

    `link`: how it is programmed and talked to, by a debug probe and a UART, or as a shared library in the worker's
    process, which has no clock that means anything, no supply, and nothing to connect.
    """

    name: Name
    title: str
    core: str
    link: Literal["uart", "library"] = "uart"
    clock_hz: Annotated[int, Field(ge=1_000_000)] | None = None
    pyocd_target: str = ""
    connect_mode: Literal["halt", "pre-reset", "under-reset"] = "halt"
    firmware: Name
    chip_id: Address = 0
    virtual: bool = False
    memory: Memory
    uart: Uart | None = None
    trigger: Trigger | None = None
    supply: Supply | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = ("clock_hz", "pyocd_target", "chip_id", "uart", "trigger", "supply")
        missing = [name for name in needed if not getattr(self, name)]
        if self.link == "uart" and missing:
            raise ValueError(f"a board with a UART needs {', '.join(missing)}")
        return self


class BoardInstance(_Strict):
    """One board. `probe` is a probe's whole id, `serial` a path, a URL of pyserial's or a USB identity (`USB_SERIAL`),
    `power` a monitor's URL, ``<kind>:<address>``.

    `cycles` says where its cycle counts come from; what a launched command prints overrides it.

    `power_cycle`: a command that takes the board's supply away and brings it back. `recover`: whether the chip may be
    erased if nothing else brings the board back.

    `profiler`: whether its launched command prints the address of one, which counts what the firmware executes.

    `place`: the labgrid place that is booked for it by the client `labgrid`, a command (docs/bench.md).
    """

    name: Name
    model: Name
    launch: Command | None = None
    probe: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    serial: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check_serial)] | None = None
    power: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*:\S*$", max_length=1024)] = "modelled:"
    cycles: Origin = "measured"
    profiler: bool = False
    power_cycle: Command | None = None
    recover: bool = False
    place: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")] | None = None
    labgrid: Command = _LABGRID

    def reachable_as(self, model: BoardModel) -> bool:
        """Whether it says enough for a board of `model` to be found."""
        wired = model.link != "library"
        return not wired or self.launch is not None or None not in (self.probe, self.serial)


class LabTable(_Strict):
    """PEM files for TLS between the hosts of a lab: the authority's certificate, one signed by it, and its key."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class _Bench(_Strict):
    """`labgrid`: the client for all boards that don't name one of their own."""

    board: tuple[BoardInstance, ...] = ()
    labgrid: Command = _LABGRID
    lab: LabTable = LabTable()

    def boards(self) -> tuple[BoardInstance, ...]:
        """Return the boards, each with its client."""
        return tuple(
            board
            if "labgrid" in board.model_fields_set
            else board.model_copy(update={"labgrid": self.labgrid})
            for board in self.board
        )


def load_models() -> dict[str, BoardModel]:
    """Return the known board models by name."""
    return {path.stem: load_model(path) for path in sorted(share("boards").glob("*.toml"))}


def load_model(path: Path) -> BoardModel:
    """Read one board model; UsageError names the file and key of what is wrong."""
    data = _read_toml(path)
    try:
        return BoardModel.model_validate(data)
    except ValidationError as error:
        raise UsageError(explain(error, BoardModel, data, lambda _: str(path))) from error


def load_instances(models: dict[str, BoardModel], bench: Path | None = None) -> dict[str, BoardInstance]:
    """Return the known boards by name: virtual ones, the host, and those of `bench` (else bench.toml, if it exists)."""
    known = embedded_instances(models)
    if bench is None and not BENCH_FILE.exists():
        return known
    path = bench or BENCH_FILE
    described = _read_bench(path).boards()
    for instance in described:
        if instance.model not in models:
            hint = nearest(instance.model, models)
            raise UsageError(f"{path}: board {instance.name}: unknown model {instance.model}{hint}")
        if not instance.reachable_as(models[instance.model]):
            raise UsageError(
                f"{path}: board {instance.name} needs `probe` and `serial`, or a `launch` command that prints them"
            )
    names = [instance.name for instance in described]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: two boards are called {name}; give each a name of its own")
    return known | {instance.name: instance for instance in described}


def load_lab(bench: Path | None = None) -> LabTable:
    """Return the table [lab] of `bench` (else bench.toml, if it exists); its paths are relative to the file."""
    path = bench or BENCH_FILE
    if bench is None and not BENCH_FILE.exists():
        return LabTable()
    given = _read_bench(path).lab.model_dump(exclude_none=True)
    return LabTable(**{name: path.parent / file for name, file in given.items()})


def described_instances(
    models: dict[str, BoardModel], instances: dict[str, BoardInstance]
) -> dict[str, BoardInstance]:
    """Return those of `instances` that a bench file describes, and that did not come with the package."""
    embedded = embedded_instances(models)
    return {name: instance for name, instance in instances.items() if embedded.get(name) != instance}


def embedded_instances(models: dict[str, BoardModel]) -> dict[str, BoardInstance]:
    """Return the boards that come with the package: virtual ones, and the host."""
    return {
        instance.name: instance
        for model in models.values()
        if model.virtual or model.link == "library"
        for instance in [_embedded(model)]
    }


def find_instance(name: str, instances: dict[str, BoardInstance]) -> BoardInstance:
    """Return the board called `name`; UsageError with the nearest name if there is none."""
    if name not in instances:
        raise UsageError(f"unknown board {name}{nearest(name, instances)}")
    return instances[name]


def probe_key(probe_id: str) -> str:
    """Return what two ways to write one probe's id have in common: a J-Link's may have leading zeros or not."""
    return probe_id.lstrip("0") if probe_id.isdecimal() and probe_id.isascii() else probe_id.casefold()


def _embedded(model: BoardModel) -> BoardInstance:
    """Return the instance that a model brings with it: its virtual chip, or the computer itself."""
    if model.link == "library":
        return BoardInstance(name=model.name, model=model.name)
    return BoardInstance(
        name=f"virtual-{model.name}",
        model=model.name,
        launch=(sys.executable, "-m", "fqtbench.virtual", model.name),
        profiler=True,
    )


def _read_bench(path: Path) -> _Bench:
    data = _read_toml(path)
    try:
        return _Bench.model_validate(data)
    except ValidationError as error:
        raise UsageError(explain(error, _Bench, data, lambda _: str(path))) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
