"""What a test may need of its board, as far as it can be said before the board is touched."""

from collections.abc import Callable, Iterable
from typing import Final

from fqtbench.board import BoardInstance, BoardModel
from fqtbench.errors import UsageError
from fqtbench.schema import nearest

# Armv7E-M has the DSP extension in every core, Armv8-M by choice of the chip's maker.
_DSP_CORES: Final = ("cortex-m4", "cortex-m7")

FEATURES: Final[dict[str, Callable[[BoardInstance, BoardModel], bool]]] = {
    "cycles": lambda instance, model: model.clock_hz is not None,
    "dsp": lambda instance, model: model.core in _DSP_CORES,
    "power": lambda instance, model: model.supply is not None,
    "probe": lambda instance, model: bool(model.pyocd_target),
    "profiler": lambda instance, model: instance.profiler,
}


def missing_features(instance: BoardInstance, model: BoardModel, needed: Iterable[str]) -> list[str]:
    """Return those of `needed` that the board lacks; UsageError if one is no feature at all."""
    wanted = list(dict.fromkeys(needed))
    for name in wanted:
        if name not in FEATURES:
            raise UsageError(f"fqt_needs: unknown feature {name}{nearest(name, FEATURES)}")
    return [name for name in wanted if not FEATURES[name](instance, model)]
