"""A `QuantizedNetwork` as one NPZ file that any NumPy reads, nothing in it pickled.

Arrays ``<layer>/weights`` and ``<layer>/bias``, and ``network``: the rest as UTF-8 JSON in a uint8 array.
"""

import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from fqtbench.errors import ImageError
from fqtbench.exchange.quantized import Quantization, QuantizedLayer, QuantizedNetwork
from fqtbench.exchange.text import first_line

FORMAT: Final = 1
_MAX_FILE_BYTES: Final = 64 << 20
_MAX_CONTENT_BYTES: Final = 256 << 20  # unpacked
_DESCRIPTION: Final = "network"
_UNREADABLE: Final = (  # what zipfile, zlib, NumPy and json raise for a damaged file, and what its values may lead to
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def save_npz(network: QuantizedNetwork, path: Path) -> None:
    """Write `network` to `path`, compressed; ImageError if it isn't consistent."""
    path.write_bytes(to_npz(network))


def to_npz(network: QuantizedNetwork) -> bytes:
    """Return the bytes of the NPZ file."""
    network.check()
    arrays: dict[str, Any] = {}
    for index, layer in enumerate(network.layers):
        if layer.weights is not None:
            arrays[f"{index}/weights"] = layer.weights
            arrays[f"{index}/bias"] = layer.bias
    text = json.dumps(_describe(network), ensure_ascii=False)
    arrays[_DESCRIPTION] = np.frombuffer(text.encode(), np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _describe(network: QuantizedNetwork) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "in_shape": network.in_shape,
        "input": network.input,
        "layers": [
            {
                name: getattr(layer, name)
                for name in QuantizedLayer.__dataclass_fields__
                if name not in ("weights", "bias")
            }
            for layer in network.layers
        ],
    }


def load_npz(path: Path) -> QuantizedNetwork:
    """Read what `save_npz` wrote; a file that isn't that raises ImageError."""
    try:
        arrays = _arrays(path)
        network = _network(arrays)
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: can't be read: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise ImageError(
            f"{path}: no network of `fqtbench export --format npz`: {first_line(error)}"
        ) from error
    network.check()
    return network


def _arrays(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ImageError(f"{path}: it has more than {_MAX_FILE_BYTES >> 20} MiB")
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MAX_CONTENT_BYTES:
        raise ImageError(f"{path}: it unpacks to {unpacked} bytes, more than {_MAX_CONTENT_BYTES >> 20} MiB")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _network(arrays: dict[str, Any]) -> QuantizedNetwork:
    described = json.loads(arrays[_DESCRIPTION].tobytes().decode())
    if described["format"] != FORMAT:
        raise ValueError(f"format {described['format']!r:.20}, this program reads {FORMAT}")
    layers = tuple(_layer(index, fields, arrays) for index, fields in enumerate(described["layers"]))
    h, w, c = _integers(described["in_shape"], 3)
    return QuantizedNetwork((h, w, c), _quantization(described["input"]), layers)


def _layer(index: int, fields: dict[str, Any], arrays: dict[str, Any]) -> QuantizedLayer:
    pairs = {name: _integers(fields[name], n) for name, n in (("in_shape", 3), ("out_shape", 3))}
    pairs |= {name: _integers(fields[name], n) for name, n in (("kernel", 2), ("stride", 2), ("pad", 4))}
    given: dict[str, Any] = dict(pairs)
    for name in ("weight_quantization", "output"):
        given[name] = None if fields[name] is None else _quantization(fields[name])
    return QuantizedLayer(
        name=str(fields["name"]),
        kind=fields["kind"],
        activation=fields["activation"],
        source=int(fields["source"]),
        groups=int(fields["groups"]),
        other=None if fields["other"] is None else int(fields["other"]),
        weights=arrays.get(f"{index}/weights"),
        bias=arrays.get(f"{index}/bias"),
        **given,
    )


def _integers(values: Any, n: int) -> tuple[int, ...]:
    if len(values) != n:
        raise ValueError(f"{n} numbers expected, not {values!r:.40}")
    return tuple(int(value) for value in values)


def _quantization(values: Any) -> Quantization:
    scale, zero_point = values
    return Quantization(float(scale), int(zero_point))
