"""The datasets that go by a name."""

import difflib
from pathlib import Path
from typing import Final

from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.idx import load_idx_folder
from fqtbench.datasets.watch import load_watch
from fqtbench.errors import UsageError

_PACKAGED: Final = Path(__file__).parent / "data"
_FASHION_CLASSES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FASHION_SOURCE: Final = "Fashion-MNIST, Zalando SE (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747)"
_DEBIAN_FASHION: Final = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return ("fashion-mnist-12k", "fashion-mnist", "seglearn-left", "seglearn-right", "idx")


def load(name: str, root: Path | None = None) -> Dataset:
    """Load a dataset by name.

    ``fashion-mnist-12k`` (10 000 + 2 000 images, class-balanced) is shipped; ``fashion-mnist`` reads the full set
    from the folder `root`, by default that of Debian's package dataset-fashion-mnist; ``seglearn-left`` and
    ``seglearn-right`` read one arm's recordings of the package seglearn, or of the folder `root`; ``idx`` reads any
    MNIST-format folder `root`. Raises UsageError for an unknown name or an unreadable file.
    """
    match name:
        case "fashion-mnist-12k":
            folder = _PACKAGED / name
            return load_idx_folder(folder, name, _FASHION_CLASSES, "MIT", f"{_FASHION_SOURCE}, subset")
        case "fashion-mnist":
            folder = root or _DEBIAN_FASHION
            if not folder.is_dir():
                raise UsageError(
                    f"dataset fashion-mnist: no folder {folder}; get it with `sudo apt install dataset-fashion-mnist`, "
                    "or give the folder of its four IDX files, plain or .gz, with --dataset-root"
                )
            return load_idx_folder(folder, name, _FASHION_CLASSES, "MIT", _FASHION_SOURCE)
        case "seglearn-left":
            return load_watch("left", root)
        case "seglearn-right":
            return load_watch("right", root)
        case "idx":
            if root is None:
                raise UsageError("dataset idx: give the MNIST-format folder with --dataset-root")
            return load_idx_folder(root, root.name, None, "not stated", str(root))
        case _:
            near = difflib.get_close_matches(name, names(), 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names())}"
            raise UsageError(f"unknown dataset {name}{hint}")
