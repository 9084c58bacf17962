"""Promise: `fqtbench kernels` shows every kernel, and writes table and figure, the same bytes each time."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("unicorn")

from fqtbench.cli import app
from fqtbench.kernels.folder import write_files

_BASELINE = Path(__file__).resolve().parents[2] / "results" / "kernels" / "cortex-m4.csv"


def test_the_table_and_its_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["kernels", "--board", "nrf52840", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"kernels.csv", "kernels.svg", "kernels.pdf"}
    assert (tmp_path / "kernels.csv").read_text() == _BASELINE.read_text()
    rows = pd.read_csv(tmp_path / "kernels.csv")
    for text in (*rows["shape"].unique(), *rows.kernel.unique(), "cortex-m4 (nrf52840)", "modelled ±7%"):
        assert text in done.output


def test_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    rows = pd.read_csv(_BASELINE)
    first, second = (write_files(rows, tmp_path / name, "kernels") for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_text() == _BASELINE.read_text()
