"""Reading an ONNX file as a stranger's: bounded, checked, self-contained, and nothing of it is ever executed."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fqtbench.errors import ImageError, UsageError
from fqtbench.exchange.text import first_line, printable

if TYPE_CHECKING:
    import onnx

MAX_FILE_BYTES: Final = 64 << 20  # far beyond any microcontroller's flash, even with float32 weights
MIN_OPSET: Final = 13  # PyTorch's exporters write 13 to 21
MAX_OPSET: Final = 21


def require_onnx() -> Any:
    """Import onnx and return it; UsageError says which extra brings it."""
    try:
        import onnx  # noqa: PLC0415  (an extra)
        import onnx.numpy_helper  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("ONNX files need the package onnx: pip install 'fqtbench[onnx]'") from error
    return onnx


def read_model(path: Path) -> "tuple[onnx.ModelProto, str]":
    """Return the model in `path`, checked by onnx.checker, and the file's SHA-256; ImageError if it is none."""
    onnx = require_onnx()
    data = _read(path)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own class of errors, which differs between its implementations
        raise ImageError(f"{path}: no ONNX file: {first_line(error)}; export the network again") from error
    _check_self_contained(path, model, onnx)
    _check_opset(path, model)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ImageError(f"{path}: onnx.checker refuses it: {first_line(error)}; export it again") from error
    return model, hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{path}: can't be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"{path}: it has more than {MAX_FILE_BYTES >> 20} MiB; no microcontroller holds such a network"
        )
    return data


def _check_self_contained(path: Path, model: "onnx.ModelProto", onnx: Any) -> None:
    """Refuse what would make another file be read, and graphs inside the graph."""
    if model.functions:
        raise ImageError(
            f"{path}: it defines functions of its own ({printable(model.functions[0].name)}); "
            "inline them (onnx.inliner.inline_local_functions) and save it again"
        )
    if model.graph.sparse_initializer:
        raise ImageError(f"{path}: it has sparse weights; save them dense")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise ImageError(
                    f"{path}: node {printable(node.name)} ({printable(node.op_type)}): it holds a graph of its own; "
                    "control flow can't run on the board: export the network without it"
                )
            tensors += [attribute.t] if attribute.HasField("t") else list(attribute.tensors)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ImageError(
                f"{path}: the data of {printable(tensor.name)} lies in another file; "
                "save the model with its weights inside (save_as_external_data=False)"
            )


def _check_opset(path: Path, model: "onnx.ModelProto") -> None:
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    version = versions.get("ai.onnx")
    if version is None or not MIN_OPSET <= version <= MAX_OPSET:
        raise ImageError(
            f"{path}: opset {'unknown' if version is None else version}, read are {MIN_OPSET} to {MAX_OPSET}; "
            "export it with opset_version=17"
        )
