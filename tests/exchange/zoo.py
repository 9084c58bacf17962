"""Small float ONNX networks as exporters write them, built with onnx.helper; weights are drawn from a fixed seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Net:
    """A graph in the making; a method adds a node that reads `x`, by default the last value, and returns its output."""

    def __init__(self, *dims: int, seed: int = 1) -> None:
        self.dims, self.rng = dims, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.last = "input"

    def node(self, op: str, *more: str, x: str | None = None, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        inputs = [x or self.last, *more]
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        self.last = f"{name}_out"
        return self.last

    def constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def draw(self, *shape: int, scale: float | None = None) -> str:
        spread = scale or 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        return self.constant(self.rng.normal(0, spread, shape).astype(np.float32))

    def conv(
        self,
        filters: int,
        channels: int,
        *kernel: int,
        bias: bool = True,
        x: str | None = None,
        **attributes: Any,
    ) -> str:
        depth = channels // attributes.get("group", 1)
        inputs = [self.draw(filters, depth, *kernel)] + ([self.draw(filters)] if bias else [])
        return self.node("Conv", *inputs, x=x, **attributes)

    def gemm(self, units: int, inputs: int) -> str:
        return self.node("Gemm", self.draw(units, inputs), self.draw(units), transB=1)

    def norm(self, channels: int) -> str:
        positive = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        inputs = self.draw(channels), self.draw(channels), self.draw(channels), positive
        return self.node("BatchNormalization", *inputs, epsilon=1e-5)

    def relu6(self) -> str:
        return self.node("Clip", self.constant(np.float32(0)), self.constant(np.float32(6)))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def model(self, opset: int = OPSET) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "net",
            [value("input", TensorProto.FLOAT, ["N", *self.dims])],
            [value(self.last, TensorProto.FLOAT, ["N", None])],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def save(self, path: Path, opset: int = OPSET) -> Path:
        onnx.save(self.model(opset), path)
        return path


def mlp() -> Net:
    net = Net(12)
    net.node("MatMul", net.draw(12, 9))
    net.node("Add", net.draw(9))
    net.node("Relu")
    net.node("Dropout")
    net.node("Gemm", net.draw(9, 5), net.draw(1, 5), alpha=0.5, beta=2.0)
    return net


def flattened_cnn() -> Net:
    net = Net(2, 7, 9)
    net.conv(3, 2, 3, 3, pads=[1, 1, 1, 1])
    net.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu")
    net.conv(4, 3, 3, 2, auto_pad="SAME_UPPER", strides=[2, 1])
    net.node("Relu")
    net.node("Flatten")
    net.gemm(6, 4 * 2 * 4)
    net.node("Relu")
    net.gemm(5, 6)
    return net


def grouped() -> Net:
    net = Net(4, 8, 6)
    net.conv(6, 4, 3, 1, group=2, bias=False, pads=[1, 0, 1, 0])
    net.norm(6)
    net.node("Relu")
    net.conv(12, 6, 3, 3, group=6, auto_pad="VALID")
    net.conv(12, 12, 2, 2, group=12, pads=[0, 0, 1, 1])
    net.node("AveragePool", kernel_shape=[2, 3], strides=[2, 3])
    net.node("GlobalAveragePool")
    net.node("Squeeze", net.integers(2, 3))
    net.gemm(4, 12)
    return net


def mobilenet_block() -> Net:
    net = Net(3, 12, 12)
    net.conv(8, 3, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1], bias=False)
    net.norm(8)
    skip = net.relu6()
    net.conv(16, 8, 1, 1, bias=False)
    net.norm(16)
    net.relu6()
    net.conv(16, 16, 3, 3, pads=[1, 1, 1, 1], group=16, bias=False)
    net.norm(16)
    net.relu6()
    net.conv(8, 16, 1, 1, bias=False)
    net.norm(8)
    skip = net.node("Add", net.last, x=skip)
    net.conv(8, 8, 3, 3, pads=[1, 1, 1, 1])
    net.node("Add", skip)
    net.node("Relu")
    net.node("ReduceMean", axes=[2, 3], keepdims=0)
    net.gemm(5, 8)
    return net


def series() -> Net:
    net = Net(6, 40)
    net.conv(8, 6, 5, pads=[2, 2])
    net.node("Relu")
    net.node("MaxPool", kernel_shape=[2], strides=[2])
    net.conv(8, 8, 3, strides=[2], group=2)
    net.norm(8)
    net.node("Relu")
    net.node("AveragePool", kernel_shape=[3], strides=[3])
    net.node("Reshape", net.integers(0, -1))
    net.gemm(7, 24)
    return net


def torch_export() -> Net:
    """What PyTorch's newer exporter makes of a small network: Reshape with allowzero, ReduceMean with constant axes."""
    net = Net(2, 6, 6)
    net.conv(4, 2, 3, 3, pads=[1, 1, 1, 1], dilations=[1, 1], strides=[1, 1], group=1, auto_pad="NOTSET")
    net.relu6()
    net.node(
        "MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], storage_order=0, dilations=[1, 1]
    )
    net.node("Reshape", net.integers(-1, 36), allowzero=1)
    net.gemm(3, 36)
    return net


def viewed() -> Net:
    """``x.view(x.size(0), -1)`` behind an average pool of the whole map with stride 1, and an Identity."""
    net = Net(3, 4, 4)
    features = net.conv(5, 3, 2, 2, auto_pad="SAME_LOWER", strides=[2, 2])
    net.node("AveragePool", kernel_shape=[2, 2], strides=[1, 1])
    features = net.node("Identity")
    net.node("Shape")
    net.node("Gather", net.constant(np.array(0, np.int64)))
    net.node("Unsqueeze", net.integers(0))
    shape = net.node("Concat", net.integers(-1), axis=0)
    net.node("Reshape", shape, x=features)
    net.node("MatMul", net.draw(5, 4))
    return net


ZOO: dict[str, Callable[[], Net]] = {
    maker.__name__: maker
    for maker in (mlp, flattened_cnn, grouped, mobilenet_block, series, torch_export, viewed)
}
