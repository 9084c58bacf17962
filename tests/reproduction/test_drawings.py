"""Promise: every committed figure is drawn from the committed tables, and no row of it is without its origin."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fqtbench.reproduction.figures import FIGURES
from fqtbench.reproduction.reproduce import TABLES, draw_from_tables

_REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
_ORIGINS = {"measured", "modelled", "published"}


_DRAWN = sorted(path.stem for path in (_REFERENCE / "figures").glob("*.csv"))


def test_the_reference_has_figures_that_are_known() -> None:
    assert _DRAWN
    assert set(_DRAWN) <= FIGURES.keys()


@pytest.mark.parametrize("name", _DRAWN)
def test_a_figure_comes_from_the_tables_and_states_origins(name: str, tmp_path: Path) -> None:
    shutil.copytree(_REFERENCE / TABLES, tmp_path / TABLES)
    (path,) = draw_from_tables(tmp_path, [name])
    assert path.with_suffix(".csv").read_text() == (_REFERENCE / "figures" / f"{name}.csv").read_text()
    table = pd.read_csv(path.with_suffix(".csv"))
    columns = [column for column in table.columns if column == "origin" or column.endswith(".origin")]
    assert columns
    assert set(table[columns].stack().dropna()) <= _ORIGINS
    assert table[columns].notna().any(axis=1).all()
