"""Promise: every committed figure is drawn from the committed tables, and no row of it is without its origin."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fqtbench.errors import ResultError
from fqtbench.reproduction.figures import FIGURES, RUNS
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


def test_a_figure_whose_suite_has_not_run_is_refused_by_name(tmp_path: Path) -> None:
    runs = pd.read_csv(_REFERENCE / TABLES / f"{RUNS}.csv", keep_default_na=False, na_values=[""])
    with pytest.raises(ResultError, match=r"has no tables/runs\.csv"):
        draw_from_tables(tmp_path, ["scratch"])
    (tmp_path / TABLES).mkdir()
    runs[runs.suite != "scratch-digits"].to_csv(tmp_path / TABLES / f"{RUNS}.csv", index=False)
    with pytest.raises(ResultError, match="figure scratch needs suite scratch-digits"):
        draw_from_tables(tmp_path, ["scratch"])
