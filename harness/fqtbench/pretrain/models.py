"""The pretrained networks that come with the package, and how each was made."""

from dataclasses import dataclass, field
from typing import Any, Final

from fqtbench.pretrain import networks
from fqtbench.pretrain.fit import Schedule
from fqtbench.pretrain.networks import Network


@dataclass(frozen=True)
class Model:
    """experiments/models/`name`.onnx: `network`, taught `dataset`, a suite's ``dataset``."""

    name: str
    network: Network
    dataset: dict[str, Any]
    schedule: Schedule
    seed: int = field(default=1)


_FASHION: Final = {"name": "fashion-mnist"}
_COLOUR: Final = {"name": "fashion-mnist", "colour": True, "train": 10_000, "test": 1000}

MODELS: Final = (
    Model("cnn-fashion", networks.CNN_POOLED, _FASHION, Schedule(8, 3, shift=1)),
    Model("wide-fashion", networks.CNN_WIDE, _FASHION, Schedule(8, 3, shift=1)),
    Model("mobilenet-colour-fashion", networks.mobilenet_v2_32(), _COLOUR, Schedule(7, 1, shift=1)),
    Model(
        "mcunet-colour-fashion",
        networks.mcunet_scale_32(),
        _COLOUR | {"train": 4000},
        Schedule(3, 1, shift=1),
    ),
    Model("imu-left", networks.IMU, {"name": "seglearn-left"}, Schedule(40, 10, rate=0.05, shift=10)),
    Model("vibration-ford-a", networks.VIBRATION, {"name": "ford-a"}, Schedule(30, 8, rate=0.05, shift=100)),
)
