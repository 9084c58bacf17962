"""A float network goes through import, compilation and export, and comes out as itself.

In float32 the logits are the same to 1e-4: layouts and weights arrive where they belong. Quantized, untrained, they
stay within a twentieth of their range: 8 bits per tensor, calibrated on the samples themselves.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fqtbench.exchange.export_onnx import to_onnx
from fqtbench.exchange.from_image import quantized_network
from fqtbench.exchange.import_onnx import import_onnx
from fqtbench.exchange.source import NetworkSource, load_network
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import TrainingSpec
from tests.exchange.zoo import ZOO, Net

N_SAMPLES = 24


@pytest.mark.parametrize("maker", ZOO.values(), ids=ZOO.keys())
@pytest.mark.parametrize(("configuration", "share"), [("float32", None), ("uint8", 0.05)])
def test_comes_out_as_itself(
    maker: Callable[[], Net], configuration: str, share: float | None, tmp_path: Path
) -> None:
    path = maker().save(tmp_path / "net.onnx")
    spec, weights = load_network(NetworkSource(onnx=path, train_last=1))
    n_classes = spec.layers[-1].units  # type: ignore[union-attr]
    rng = np.random.default_rng(2)
    samples = rng.integers(0, 256, (N_SAMPLES, *import_onnx(path).in_shape)).astype(np.uint8)
    labels = rng.integers(0, n_classes, N_SAMPLES).astype(np.uint16)
    training = TrainingSpec.model_validate({"configuration": configuration})
    roomy = Memory(flash_bytes=1 << 20, arena_bytes=1 << 20)
    model = compile_model(spec, training, samples, labels, n_classes, roomy, 1, 100, weights=weights)
    state = Trainer(model.image).state.tensor_state
    exported = to_onnx(quantized_network(model.image, {}, state)).SerializeToString()
    x = np.moveaxis(samples, -1, 1).astype(np.float32) * np.float32(1 / 255)
    ours = onnxruntime.InferenceSession(exported).run(None, {"input": x})[0]
    shape = (N_SAMPLES, *maker().dims)
    theirs = onnxruntime.InferenceSession(str(path)).run(None, {"input": x.reshape(shape)})[0]
    bound = 1e-4 if share is None else share * (theirs.max() - theirs.min())
    assert np.abs(ours - theirs).max() <= bound
