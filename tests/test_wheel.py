"""Promise: the wheel is the whole product: it lists, compiles and flashes outside the clone, with nothing from it."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.tools import require

_ROOT: Final = Path(__file__).resolve().parents[1]
_TINY_SUITE: Final = """
name: tiny
boards: [virtual-nrf52840]
dataset: {name: fashion-mnist-12k, train: 32, test: 20}
network:
  layers:
    - {type: max_pool, size: 7}
    - {type: fully_connected, units: 10, activation: linear}
training: {batch: 16}
verify: 32
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel alone; its dependencies come from this environment. Returns its bin."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(_ROOT)]
    subprocess.run(build, check=True, timeout=120, capture_output=True)
    (wheel,) = folder.glob("fqtbench-*.whl")
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    (site,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    ours = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return environment / "bin"


@pytest.fixture(autouse=True)
def _outside_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk's PYTHONPATH may lead into the clone."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


def _run(bin_folder: Path, cwd: Path, *arguments: str) -> str:
    command = [str(bin_folder / "python"), "-m", "fqtbench.cli", *arguments]
    done = subprocess.run(command, cwd=cwd, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_code_and_data_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    script = (
        "import fqtbench, fqtbench.paths as p, json\n"
        "names = ['boards/nrf52840.toml', 'experiments/quickstart.yaml', 'firmware/prebuilt/nrf52840.elf',\n"
        "  'experiments/paper/partial.yaml', 'experiments/models/cnn-fashion.onnx']\n"
        "print(json.dumps([fqtbench.__file__, *(str(p.share(n)) for n in names if p.share(n).is_file())]))\n"
    )
    done = subprocess.run(
        [str(installed / "python"), "-c", script],
        cwd=tmp_path,
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert all(str(_ROOT) not in path for path in found)


def test_it_trains_on_a_virtual_board_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(_TINY_SUITE)
    _run(installed, tmp_path, "run", "tiny.yaml", "--out", "out")
    assert (tmp_path / "out" / "report.html").is_file()
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) == 2


def test_it_is_a_plugin_of_pytest(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "python"), "-m", "pytest", "--markers"]
    done = subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, text=True, check=False)
    assert "@pytest.mark.fqt_needs(*features): " in done.stdout, done.stderr


def test_it_counts_kernels_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    rows = _run(installed, tmp_path, "kernels", "--board", "rp2040", "--csv").splitlines()
    assert rows[0].startswith("core,shape,kernel,")
    assert all(row.startswith("cortex-m0plus,") for row in rows[1:])
    assert len(rows) > 1


def test_it_carries_the_engines_sources_for_the_host(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cc", "gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # so that it is built, not found
    (tmp_path / "tiny.yaml").write_text(_TINY_SUITE)
    _run(installed, tmp_path, "run", "tiny.yaml", "--board", "host", "--out", "out", "--no-report")
    assert list((tmp_path / "out" / "runs").rglob("weights.npz"))
    assert list((tmp_path / "cache").rglob("fqt-*.so"))
