"""Promise: the documents' figures are those of the committed results, and their links lead somewhere."""

import re
from pathlib import Path
from typing import Final

import pytest
from benchmarks.promise import load_all
from benchmarks.readme import README, rendered

_ROOT: Final = Path(__file__).resolve().parents[1]
_DOCUMENTS: Final = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]


def test_the_readmes_table_is_made_of_the_committed_results() -> None:
    text = README.read_text()
    assert rendered(text) == text


def test_every_promise_is_kept() -> None:
    promises = load_all()
    assert promises
    assert [promise.what for promise in promises if not promise.kept] == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert missing == []
