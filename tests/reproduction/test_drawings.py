"""Promise: every figure is drawn from the committed tables, and no row of what it shows is without its origin."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fqtbench.reproduction.figures import FIGURES
from fqtbench.reproduction.reproduce import TABLES, draw_from_tables

_REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
_ORIGINS = {"measured", "modelled", "published"}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_comes_from_the_tables_and_states_origins(name: str, tmp_path: Path) -> None:
    shutil.copytree(_REFERENCE / TABLES, tmp_path / TABLES)
    (path,) = draw_from_tables(tmp_path, [name])
    assert path.with_suffix(".csv").read_text() == (_REFERENCE / "figures" / f"{name}.csv").read_text()
    table = pd.read_csv(path.with_suffix(".csv"))
    columns = [column for column in table.columns if column == "origin" or column.endswith(".origin")]
    assert columns
    assert set(table[columns].stack()) <= _ORIGINS
    assert table[columns].notna().any(axis=1).all()
