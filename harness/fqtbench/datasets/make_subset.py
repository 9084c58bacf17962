"""Make the packaged subset from the full Fashion-MNIST: ``python -m fqtbench.datasets.make_subset FOLDER``."""

import sys
from pathlib import Path
from typing import Final

from fqtbench.datasets.catalogue import load
from fqtbench.datasets.idx import write_idx

_SEED: Final = 2025


def main() -> None:
    """Write 10 000 + 2 000 images, equally many of each class, into FOLDER."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    part = load("fashion-mnist").subset(10_000, 2_000, _SEED)
    write_idx(folder / "train-images-idx3-ubyte.gz", part.train_x[..., 0])
    write_idx(folder / "train-labels-idx1-ubyte.gz", part.train_y.astype("uint8"))
    write_idx(folder / "t10k-images-idx3-ubyte.gz", part.test_x[..., 0])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", part.test_y.astype("uint8"))


if __name__ == "__main__":
    main()
