"""Promise: a network takes the RAM that its kernels need at each moment; MobileNetV2 fits boards with 256 KB."""

import numpy as np
import pytest

from fqtbench.bench.firmware import load_firmware
from fqtbench.board import load_models
from fqtbench.pretrain.networks import MOBILENET_TRAINED, mobilenet_v2_32, train_last
from fqtbench.training import image as im
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.plan import Buffer
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from tests.engine.networks import in_place

_PAPER_BYTES = 272 * 1024  # Deutel et al., arXiv 2407.10734: its MobileNetV2 in training
_MOST_OF_THE_PAPER = 0.8


@pytest.fixture(scope="module")
def mobilenet() -> CompiledModel:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8), np.arange(2, dtype=np.uint16)
    network = NetworkSpec.model_validate(train_last(mobilenet_v2_32(), MOBILENET_TRAINED))
    roomy = Memory(1 << 21, 1 << 21)
    return compile_model(network, TrainingSpec(batch=1), x, y, 10, roomy, seed=1, n_steps=2)


def _buffer(model: CompiledModel, name: str) -> Buffer:
    return model.plan.find(name).buffer


@pytest.mark.parametrize("board", ["nrf52840", "rp2040", "mimxrt1062"])
def test_mobilenet_fits_with_scratch_to_spare(mobilenet: CompiledModel, board: str) -> None:
    assert mobilenet.plan.peak_bytes <= load_firmware(load_models()[board]).arena_bytes


def test_mobilenet_takes_less_than_the_paper_s(mobilenet: CompiledModel) -> None:
    firmware = load_firmware(load_models()["nrf52840"])
    taken = firmware.static_bytes + mobilenet.plan.peak_bytes
    assert taken <= _MOST_OF_THE_PAPER * _PAPER_BYTES


def test_no_layer_below_the_first_trained_one_holds_scratch_behind_itself(mobilenet: CompiledModel) -> None:
    first = next(number for number, layer in enumerate(mobilenet.layers) if layer.train != "none")
    below, above = (_buffer(mobilenet, name) for name in ("forward scratch", "scratch"))
    assert below.last < first == above.first
    assert above.last == 2 * len(mobilenet.layers) - 1 - first


def test_frozen_depthwise_layers_are_in_place() -> None:
    image = im.Image.parse(in_place().compile().image)
    offsets = [
        [int(image.tensors[int(layer[field])]["offset"]) for field in ("in", "out")]
        for layer in image.layers
        if layer["type"] == im.LayerType.CONVOLUTION and layer["groups"] > 1
    ]
    same = [before == behind for before, behind in offsets]
    assert same == [True, True, True]
