"""An exported network predicts in onnxruntime what the reference predicts; an NPZ file gives back what went in.

onnxruntime rounds halves to even in float, the board halves up with a 15-bit multiplier, so an activation may differ
by a quantum. Bounds: logits within one quantum, 1/255 of the range of the logits over the test samples; predictions
equal on all samples, but for one whose two largest logits lie within that quantum.
"""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.exchange.export_onnx import export_onnx, to_onnx
from fqtbench.exchange.from_image import quantized_network
from fqtbench.exchange.import_onnx import import_onnx
from fqtbench.exchange.npz import load_npz, save_npz
from fqtbench.exchange.quantized import INPUT, Quantization, QuantizedLayer, QuantizedNetwork
from tests.exchange.trained import NETWORKS, Trained, trained

N_SAMPLES = 300
CASES = [(name, "uint8") for name in NETWORKS] + [
    ("pooled", "mixed"),
    ("residual", "mixed"),
    ("global", "float32"),
]


def run(model: onnx.ModelProto, samples: NDArray[np.uint8], optimized: bool = True) -> NDArray[np.float32]:
    """Return onnxruntime's logits of pixels 0..255 given as 0..1."""
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = np.moveaxis(samples, -1, 1).astype(np.float32) * np.float32(1 / 255)
    logits: NDArray[np.float32] = session.run(["logits"], {"input": x})[0]
    return logits


def assert_same_predictions(subject: Trained, logits: NDArray[np.float32]) -> None:
    outcomes = [subject.evaluate(sample) for sample in subject.samples]
    predicted = np.array([outcome[0] for outcome in outcomes])
    ours = np.array([outcome[1] for outcome in outcomes])
    quantum = (ours.max() - ours.min()) / 255
    assert np.abs(ours - logits).max() <= quantum
    largest = np.sort(ours, axis=1)
    different = np.flatnonzero(logits.argmax(axis=1) != predicted)
    assert len(different) <= 1
    assert all(largest[i, -1] - largest[i, -2] < quantum for i in different)
    assert len(np.unique(predicted)) > 1  # a network of one answer would agree with anything


@pytest.mark.parametrize(("name", "configuration"), CASES)
@pytest.mark.parametrize("optimized", [True, False], ids=["fused", "plain"])
def test_predicts_what_the_reference_predicts(name: str, configuration: str, optimized: bool) -> None:
    subject = trained(name, configuration, N_SAMPLES)
    model = to_onnx(subject.network())
    assert_same_predictions(subject, run(model, subject.samples, optimized))


def test_trained_state_and_not_the_initial_one_is_exported() -> None:
    subject = trained("pooled", "uint8", N_SAMPLES)
    untrained = quantized_network(subject.model.image, {}, subject.trainer.state.tensor_state)
    before, after = untrained.layers[0].weights, subject.network().layers[0].weights
    assert before is not None and after is not None and (before != after).any()
    logits = run(to_onnx(untrained), subject.samples)
    predicted = [subject.evaluate(sample)[0] for sample in subject.samples]
    assert np.mean(logits.argmax(axis=1) == predicted) < 0.9


def test_integers_stay_integers_in_the_file(tmp_path: Path) -> None:
    network = trained("pooled", "uint8", N_SAMPLES).network()
    export_onnx(network, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [array for name, array in arrays.items() if name.endswith("/weights")]
    biases = [array for name, array in arrays.items() if name.endswith("/bias")]
    assert len(weights) == len(biases) == 4
    assert {array.dtype for array in weights} == {np.dtype(np.uint8)}
    assert {array.dtype for array in biases} == {np.dtype(np.int32)}
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert float(properties["input_scale"]) == network.input.scale


@pytest.mark.parametrize(("name", "configuration"), CASES)
def test_an_exported_network_can_be_trained_on(name: str, configuration: str, tmp_path: Path) -> None:
    network = trained(name, configuration, 1).network()
    export_onnx(network, tmp_path / "net.onnx")
    imported = import_onnx(tmp_path / "net.onnx")
    weighted = [layer for layer in network.layers if layer.weights is not None]
    assert len(imported.weights) == len(weighted)
    for layer, (kernel, _) in zip(weighted, imported.weights.values(), strict=True):
        assert layer.weights is not None
        expected = layer.weights.astype(np.float32)
        if layer.weight_quantization is not None:
            own = layer.weight_quantization
            expected = (expected - np.float32(own.zero_point)) * np.float32(own.scale)
        assert np.array_equal(kernel.reshape(-1), expected.reshape(-1))


def test_state_of_another_image_is_refused() -> None:
    subject, other = trained("pooled", "uint8", N_SAMPLES), trained("global", "uint8", N_SAMPLES)
    with pytest.raises(ImageError, match=r"ranges of \d+ tensors"):
        quantized_network(subject.model.image, {}, other.trainer.state.tensor_state)
    number = next(iter(subject.tensors))
    with pytest.raises(ImageError, match=rf"tensor {number} has 3 bytes"):
        quantized_network(subject.model.image, {number: b"abc"}, subject.trainer.state.tensor_state)


def test_convolution_behind_a_row_is_refused_by_name() -> None:
    flat = QuantizedLayer("rows", "flatten", INPUT, (2, 2, 1), (1, 1, 4), output=Quantization(1.0, 0))
    pool = QuantizedLayer("pool", "max_pool", 0, (1, 1, 4), (1, 1, 4), output=Quantization(1.0, 0))
    with pytest.raises(ImageError, match=r"layer pool: .* behind Flatten"):
        to_onnx(QuantizedNetwork((2, 2, 1), Quantization(1.0, 0), (flat, pool)))


@pytest.mark.parametrize(("name", "configuration"), [("residual", "mixed"), ("pooled", "uint8")])
def test_npz_gives_back_what_went_in(name: str, configuration: str, tmp_path: Path) -> None:
    network = trained(name, configuration, N_SAMPLES).network()
    save_npz(network, tmp_path / "net.npz")
    loaded = load_npz(tmp_path / "net.npz")
    assert to_onnx(loaded).SerializeToString() == to_onnx(network).SerializeToString()
    bare = {"weights": None, "bias": None}
    assert [replace(layer, **bare) for layer in loaded.layers] == [
        replace(layer, **bare) for layer in network.layers
    ]


def _altered(network: QuantizedNetwork, path: Path, change: dict[str, Any]) -> None:
    """Write the NPZ file of `network` with the first layer's description changed."""
    save_npz(network, path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    described = json.loads(arrays["network"].tobytes())
    described["layers"][0] |= change
    arrays["network"] = np.frombuffer(json.dumps(described).encode(), np.uint8)
    np.savez(path, allow_pickle=False, **arrays)


@pytest.mark.parametrize(
    "change",
    [
        {"source": 5},
        {"kind": "lstm"},
        {"kernel": [9, 9]},
        {"pad": [1]},
        {"groups": 0},
        {"output": [-1.0, 0]},
        {"output": [1.0, 300]},
        {"in_shape": [1 << 40, 1, 1]},
        {"weight_quantization": None},
        {"other": 0},
        {"kind": []},
        {"stride": "ab"},
    ],
    ids=str,
)
def test_altered_npz_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    _altered(trained("pooled", "uint8", N_SAMPLES).network(), tmp_path / "net.npz", change)
    with pytest.raises(ImageError):
        load_npz(tmp_path / "net.npz")


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, network=np.array([{"format": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "net.npz").write_bytes(file.getvalue())
    with pytest.raises(ImageError, match="no network of"):
        load_npz(tmp_path / "net.npz")


def test_damaged_npz_ends_in_an_error_of_ours_or_in_a_network(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    save_npz(trained("global", "uint8", N_SAMPLES).network(), path)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(5), 0
    for _ in range(200):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[: int(rng.integers(len(data)))] if rng.random() < 0.2 else data)
        try:
            load_npz(path)
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100
