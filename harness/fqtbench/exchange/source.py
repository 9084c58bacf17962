"""A pretrained network as a suite names it: ``network: {onnx: net.onnx, train_last: 5}``."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fqtbench.errors import ImageError
from fqtbench.exchange.import_onnx import ImportedNetwork, import_onnx
from fqtbench.exchange.sequence import Weights
from fqtbench.training.spec import NetworkSpec


class NetworkSource(BaseModel):
    """A float ONNX file; of its layers with weights the last `train_last` are trained, the others frozen; None: all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    onnx: Path
    train_last: Annotated[int, Field(ge=1, le=200)] | None = None


def load_network(source: NetworkSource, folder: Path = Path()) -> tuple[NetworkSpec, dict[int, Weights]]:
    """Return the network of `source` and its float32 weights, by position in `spec.layers` (see `ImportedNetwork`).

    A relative path is taken from `folder`, the suite's. Raises ImageError as `import_onnx` does, and if the network
    has fewer layers than are to be trained.
    """
    path = folder / source.onnx
    network = import_onnx(path)
    return _frozen(path, network, source.train_last), network.weights


def _frozen(path: Path, network: ImportedNetwork, train_last: int | None) -> NetworkSpec:
    if train_last is None:
        return network.spec
    weighted = sorted(network.weights)
    if train_last > len(weighted):
        raise ImageError(
            f"{path}: train_last: {train_last}, but the network has {len(weighted)} layers with weights; "
            "leave train_last out to train them all"
        )
    frozen = set(weighted[:-train_last])
    layers = tuple(
        layer.model_copy(update={"train": "none"}) if index in frozen else layer
        for index, layer in enumerate(network.spec.layers)
    )
    return NetworkSpec(layers=layers)
