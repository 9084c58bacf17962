"""From float32 weights to the file that suites start from: ONNX with uint8 weights, calibrated as for a board."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fqtbench.datasets import Dataset
from fqtbench.exchange.export_onnx import export_onnx
from fqtbench.exchange.from_image import quantized_network
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.image import Image
from fqtbench.training.spec import NetworkSpec, TrainingSpec

_ROOMY: Final = Memory(flash_bytes=1 << 26, arena_bytes=1 << 26)
_CALIBRATION_SAMPLES: Final = 32


def save(network: NetworkSpec, weights: Mapping[int, Any], data: Dataset, path: Path) -> None:
    """Write the network to `path`: all 256 levels for weights, but headroom for the head's, which is always trained."""
    frozen = [
        layer.model_copy(update={"train": "none"} if hasattr(layer, "train") else {})
        for layer in network.layers[:-1]
    ]
    n = _CALIBRATION_SAMPLES
    compiled = compile_model(
        NetworkSpec(layers=(*frozen, network.layers[-1])),
        TrainingSpec(batch=1),
        data.train_x[:n],
        data.train_y[:n],
        len(data.classes),
        _ROOMY,
        seed=0,
        n_steps=1,
        quantization=(data.scale, data.zero_point),
        weights=weights,
    )
    image = Image.parse(compiled.image)
    export_onnx(quantized_network(compiled.image, {}, image.tensors), path)
