"""How the training engine's functions tell layer and phase: the one place that names them (firmware/engine)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, cast

from fqtbench.bench.job import Marker, Watch
from fqtbench.errors import ImageError
from fqtbench.profile.model import PhaseName
from fqtbench.profile.symbols import FirmwareMap
from fqtbench.training.image import LAYER, Image


class Phase(IntEnum):
    """What is done to a layer; the numbers of sections in a trace."""

    FORWARD = 1
    SELECT = 2
    ERROR = 3
    GRADIENT = 4
    UPDATE = 5

    @property
    def key(self) -> PhaseName:
        """Its name in files."""
        return cast(PhaseName, self.name.lower())

    @property
    def title(self) -> str:
        """Its name in tables."""
        return _TITLES[self]


_TITLES: Final[dict[Phase, str]] = {
    Phase.FORWARD: "forward",
    Phase.SELECT: "select",
    Phase.ERROR: "∂X",
    Phase.GRADIENT: "∂W",
    Phase.UPDATE: "update",
}

# Functions that work through the layers, and the phase of what they do where no marker says another.
_CUT: Final = {
    "fqt_forward": Phase.FORWARD,
    "fqt_backward": Phase.SELECT,
    "fqt_update": Phase.UPDATE,
    "fqt_settle": Phase.UPDATE,
}

# Functions that apply a filter's gradient at batch 1, in the backward pass; a fully connected layer's is a product of
# its input and an error, which fqt_step_outer makes as it goes.
AT_ONCE: Final = ("fqt_update_at_once", "fqt_step", "fqt_step_outer")

# Functions whose time is of one phase wherever they are called from.
PHASE_OF: Final = _CUT | dict.fromkeys(AT_ONCE, Phase.UPDATE)


@dataclass(frozen=True)
class _Teller:
    """A function that is called for one layer; `argument` holds it, as a pointer or as an index."""

    function: str
    phase: Phase | None  # None: the caller's
    argument: int | None  # in r0 to r3; None: goes on with the layer of the call before
    pointer: bool = False
    layer: bool = True  # False: from here on it is no layer's
    needed: bool = True  # False: static, a compiler may inline it


# Arguments: AAPCS32 6.5. A structure of more than 4 bytes is returned through a pointer in r0, the arguments follow.
_TELLERS: Final = (
    _Teller("fqt_geometry_of", None, 2, pointer=True),
    _Teller("fqt_forward_head", Phase.FORWARD, 2, pointer=True),
    _Teller("fqt_forward_map", Phase.FORWARD, 1),
    _Teller("fqt_backward_head", Phase.ERROR, 1, pointer=True),
    _Teller("fqt_backward_map", Phase.ERROR, 1),
    _Teller("fqt_propagate_integer", Phase.ERROR, 1),
    _Teller("fqt_float_error", Phase.ERROR, None),
    _Teller("fqt_accumulate_integer", Phase.GRADIENT, 1),
    _Teller("fqt_float_gradient", Phase.GRADIENT, None),
    _Teller("fqt_follow_range", Phase.UPDATE, 1),
    _Teller("fqt_update_integer", Phase.UPDATE, 1),
    _Teller("fqt_update_float", Phase.UPDATE, 1),
    _Teller("fqt_update_biases", Phase.UPDATE, 1, pointer=True),
    _Teller("fqt_grow_weights", Phase.UPDATE, 1, pointer=True),
    _Teller("fqt_settle", Phase.UPDATE, 0, layer=False),
    _Teller("settle_scale", Phase.UPDATE, 1, pointer=True, needed=False),
    _Teller("fqt_fold_bias", Phase.UPDATE, 1, pointer=True),
)


def watch(firmware: FirmwareMap, image: bytes, image_origin: int) -> Watch:
    """Return what a profiler must follow so that its sections are phases, and their elements layers.

    `image_origin` is where the model image lies on the board. Raises ImageError if the firmware lacks a function.
    """
    begins = {f.name: f.begin for f in firmware.functions}
    missing = [
        name for name in (*PHASE_OF, *(t.function for t in _TELLERS if t.needed)) if name not in begins
    ]
    if missing:
        raise ImageError(
            f"the firmware has no function {missing[0]}: it is another engine than harness/fqtbench/profile/engine.py "
            "knows; build it with `make firmware`"
        )
    layers = image_origin + int(Image.parse(image).header["layers_offset"])
    return Watch(
        functions=tuple((f.begin, f.end) for f in firmware.functions),
        cut=tuple((begins[name], int(phase)) for name, phase in _CUT.items()),
        markers=tuple(_marker(t, begins[t.function], layers) for t in _TELLERS if t.function in begins),
    )


def _marker(teller: _Teller, begin: int, layers: int) -> Marker:
    stride = LAYER.itemsize if teller.pointer else 1
    return Marker(
        function=begin,
        section=int(teller.phase or 0),
        argument=teller.argument,
        base=layers if teller.pointer else 0,
        stride=stride if teller.layer else 0,
    )
