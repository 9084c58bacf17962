"""An imported ONNX network computes what onnxruntime computes, or is refused by name."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fqtbench.errors import FqtbenchError, ImageError, UsageError
from fqtbench.exchange import onnx_file
from fqtbench.exchange.import_onnx import ImportedNetwork, import_onnx
from fqtbench.exchange.source import NetworkSource, load_network
from tests.exchange.float_forward import float_forward
from tests.exchange.zoo import ZOO, Net, flattened_cnn, mlp, mobilenet_block, viewed

TOLERANCE = 1e-4
N_SAMPLES = 3


def outputs(path: Path, net: Net, network: ImportedNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs of onnxruntime, and the logits of the imported network, for the same samples."""
    x = np.random.default_rng(7).normal(size=(N_SAMPLES, *net.dims)).astype(np.float32)
    theirs = onnxruntime.InferenceSession(str(path)).run(None, {"input": x})[0]
    h, w, c = network.in_shape
    samples = np.moveaxis(x.reshape(-1, c, h, w), 1, -1)
    ours = np.stack([float_forward(network.spec, network.weights, sample) for sample in samples])
    return theirs, ours


@pytest.mark.parametrize("maker", ZOO.values(), ids=ZOO.keys())
def test_computes_what_onnxruntime_computes(maker: Callable[[], Net], tmp_path: Path) -> None:
    net = maker()
    path = net.save(tmp_path / "net.onnx")
    theirs, ours = outputs(path, net, import_onnx(path))
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_reads_the_opsets_of_exporters(opset: int, tmp_path: Path) -> None:
    net = Net(3, 6, 6)
    net.conv(4, 3, 3, 3)
    net.relu6()
    if opset < 18:
        net.node("ReduceMean", axes=[-1, -2], keepdims=1)
    else:
        net.node("ReduceMean", net.integers(2, 3), keepdims=1)
    net.node("Flatten")
    net.gemm(2, 4)
    path = net.save(tmp_path / "net.onnx", opset)
    theirs, ours = outputs(path, net, import_onnx(path))
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


def test_final_softmax_is_dropped(tmp_path: Path) -> None:
    net = mlp()
    net.node("Softmax", axis=-1)
    path = net.save(tmp_path / "net.onnx")
    theirs, logits = outputs(path, net, import_onnx(path))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), theirs, atol=TOLERANCE)


def test_skip_path_may_not_begin_before_an_activation(tmp_path: Path) -> None:
    net = Net(3, 6, 6)
    skip = net.conv(3, 3, 1, 1)
    net.node("Relu")
    net.conv(3, 3, 1, 1)
    net.node("Add", skip)
    with pytest.raises(ImageError, match=r"node relu_1 \(Relu\): .* read elsewhere"):
        import_onnx(_ended(net, 3).save(tmp_path / "net.onnx"))


def _ended(net: Net, channels: int) -> Net:
    net.node("GlobalAveragePool")
    net.node("Flatten")
    net.gemm(2, channels)
    return net


def _projection(net: Net) -> None:
    stem = net.conv(4, 3, 3, 3, pads=[1, 1, 1, 1])
    body = net.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    net.conv(4, 4, 1, 1, x=stem)
    net.node("Add", body)


def _two_softmax(net: Net) -> None:
    net.node("Flatten")
    net.node("Softmax", axis=1)
    net.gemm(3, 108)


REFUSALS: dict[str, tuple[Callable[[Net], object], str]] = {
    "operator": (lambda net: net.node("HardSwish"), r"node hardswish_0 \(HardSwish\): .*not supported"),
    "domain": (lambda net: net.node("Relu", domain="com.acme"), r"\(com.acme.Relu\): "),
    "dilation": (
        lambda net: net.conv(2, 3, 3, 3, dilations=[2, 2]),
        r"node conv_0 \(Conv\): dilations \[2, 2\]; use",
    ),
    "pads": (
        lambda net: net.conv(2, 3, 3, 3, pads=[2, 0, 0, 0]),
        r"pads \[2, 0\] before and \[0, 0\] behind",
    ),
    "lower": (lambda net: net.conv(2, 3, 2, 2, auto_pad="SAME_LOWER"), r"SAME_LOWER"),
    "groups": (lambda net: net.conv(3, 6, 1, 1, group=3), r"don't fit 3 channels"),
    "overlap": (
        lambda net: net.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
        r"overlap or leave gaps",
    ),
    "ceil": (lambda net: net.node("MaxPool", kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1), r"ceil_mode"),
    "clip": (
        lambda net: net.node("Clip", net.constant(np.float32(-1))),
        r"node clip_0 \(Clip\): bounds -1.0 and None",
    ),
    "first relu": (lambda net: net.node("Relu"), r"it follows the network's input"),
    "norm": (lambda net: net.norm(3), r"\(BatchNormalization\): it follows the network's input"),
    "mean": (lambda net: net.node("ReduceMean", axes=[1]), r"a mean over axes \[1\]"),
    "reshape": (
        lambda net: net.node("Reshape", net.integers(0, 6, 18)),
        r"from \[0, 3, 6, 6\] to \[0, 6, 18\]",
    ),
    "transpose": (lambda net: net.node("Transpose", perm=[0, 2, 3, 1]), r"it turns an activation"),
    "projection": (_projection, r"node conv_2 \(Conv\): it reads the output of layer 0 .*projection"),
    "adds the input": (
        lambda net: [net.conv(3, 3, 1, 1), net.node("Add", "input")],
        r"adds the network's input",
    ),
    "softmax": (_two_softmax, r"node softmax_1 \(Softmax\): it isn't the last operation"),
    "gemm on a map": (lambda net: net.node("MatMul", net.draw(6, 4)), r"its input is a map, not a row"),
    "nan": (
        lambda net: net.node("Conv", net.constant(np.full((2, 3, 1, 1), np.nan, np.float32))),
        r"its weights is not finite|not finite float32",
    ),
    "half": (
        lambda net: net.node("Conv", net.constant(np.ones((2, 3, 1, 1), np.float16))),
        r"constant constant_0 is float16|onnx.checker refuses",
    ),
}


@pytest.mark.parametrize(("build", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses_by_name_what_cannot_be_expressed(
    build: Callable[[Net], object], message: str, tmp_path: Path
) -> None:
    net = Net(3, 6, 6)
    build(net)
    model = net.model()
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ImageError, match=message) as caught:
        import_onnx(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


def test_refuses_a_head_that_gives_no_logits(tmp_path: Path) -> None:
    net = Net(3, 4, 4)
    net.conv(5, 3, 4, 4)
    with pytest.raises(ImageError, match="the last layer must be `fully_connected`"):
        import_onnx(net.save(tmp_path / "net.onnx"))


def test_refuses_weights_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(
        flattened_cnn().model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    with pytest.raises(ImageError, match="lies in another file"):
        import_onnx(path)


def test_refuses_a_file_beyond_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mlp().save(tmp_path / "net.onnx")
    monkeypatch.setattr(onnx_file, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(ImageError, match="MiB"):
        import_onnx(path)


def test_refuses_a_shape_without_its_data(tmp_path: Path) -> None:
    model = mlp().model()
    tensor = TensorProto(
        name="huge", data_type=TensorProto.FLOAT, dims=[1 << 40, 1 << 20], raw_data=b"\0" * 8
    )
    model.graph.initializer.append(tensor)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ImageError, match=r"constant huge|checker refuses"):
        import_onnx(tmp_path / "net.onnx")


def test_shape_arithmetic_cannot_grow(tmp_path: Path) -> None:
    net = Net(3, 4, 4)
    net.node("Shape")
    for _ in range(60):  # doubled sixty times: 2^62 values, if it were computed
        net.node("Concat", net.last, axis=0)
    net.node("Reshape", net.last, x="input")
    with pytest.raises(ImageError, match=r"\(Concat\)"):
        import_onnx(net.save(tmp_path / "net.onnx"))


def test_control_characters_stay_out_of_messages(tmp_path: Path) -> None:
    net = Net(3, 4, 4)
    net.node("HardSwish")
    net.nodes[0].name = "\x1b]0;owned\x07" + "x" * 500
    with pytest.raises(ImageError) as caught:
        import_onnx(net.save(tmp_path / "net.onnx"))
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 500


def test_damaged_files_end_in_an_error_of_ours_or_in_a_network(tmp_path: Path) -> None:
    """Neither a cut nor a flipped byte may raise anything else."""
    wholes = [make().model().SerializeToString() for make in (viewed, mobilenet_block)]
    rng = np.random.default_rng(3)
    path = tmp_path / "net.onnx"
    refused = 0
    for case in range(400):
        data = bytearray(wholes[case % 2])
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(data[: int(rng.integers(len(data)))] if case % 5 == 0 else data)
        try:
            import_onnx(path)
        except FqtbenchError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 150


def test_the_last_layers_are_trained_and_the_others_frozen(tmp_path: Path) -> None:
    flattened_cnn().save(tmp_path / "net.onnx")
    spec, weights = load_network(NetworkSource(onnx=Path("net.onnx"), train_last=2), tmp_path)
    trained = {index: spec.layers[index].train for index in weights}  # type: ignore[union-attr]
    assert trained == {0: "none", 2: "none", 4: "all", 5: "all"}
    everything, _ = load_network(NetworkSource(onnx=Path("net.onnx")), tmp_path)
    assert all(everything.layers[index].train == "all" for index in weights)  # type: ignore[union-attr]
    with pytest.raises(ImageError, match="train_last: 5, but the network has 4 layers"):
        load_network(NetworkSource(onnx=Path("net.onnx"), train_last=5), tmp_path)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"fqtbench\[onnx\]"):
        import_onnx(tmp_path / "net.onnx")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    net = Net(4)
    net.initializers.append(numpy_helper.from_array(np.ones((4, 2), np.int64), "w"))
    net.node("MatMul", "w")
    with pytest.raises(ImageError, match=r"float32|checker refuses"):
        import_onnx(net.save(tmp_path / "net.onnx"))
