"""Promise: the documents' figures are those of the committed results, and their links lead somewhere."""

import importlib
import json
import re
from pathlib import Path
from typing import Final

import pytest
from benchmarks.promise import load_all
from benchmarks.readme import TABLES, Table
from benchmarks.timing_bounds import FOLDER

from fqtbench.board import load_models

_ROOT: Final = Path(__file__).resolve().parents[1]
_DOCUMENTS: Final = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_of_figures_is_made_of_the_committed_results(table: Table) -> None:
    text = table.document.read_text()
    assert table.rendered(text) == text


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bounds-*.json")), ids=lambda path: path.stem)
def test_a_timing_model_states_no_less_than_what_it_can_not_know(path: Path) -> None:
    result = json.loads(path.read_text())
    core = importlib.import_module(f"fqtbench.virtual.timing.{result['core'].replace('-', '_')}")
    assert result["board"] in load_models()
    assert result["timing_model_id"] == core.MODEL_ID
    assert result["stated_per_cent"] == 100 * core.UNCERTAINTY
    assert sum(row["per_cent"] for row in result["causes"]) <= result["stated_per_cent"]


def test_every_promise_is_kept() -> None:
    """Or says why it isn't; the reason goes when the promise is kept again."""
    promises = load_all().values()
    assert promises
    assert [promise.what for promise in promises if not promise.kept and not promise.shortfall] == []
    assert [promise.what for promise in promises if promise.kept and promise.shortfall] == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert missing == []
