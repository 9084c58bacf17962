"""Promise: every packaged suite can be run, whole and quick, and starts from files that are there."""

from pathlib import Path

import pytest

from fqtbench.board import load_instances, load_models
from fqtbench.errors import UsageError
from fqtbench.exchange.source import NetworkSource, load_network
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.paths import share
from fqtbench.reproduction.figures import FIGURES

_SUITES = sorted(share("experiments").rglob("*.yaml"))
_REPRODUCED = {suite for figure in FIGURES.values() for suite in figure.suites}


@pytest.mark.parametrize("path", _SUITES, ids=lambda path: path.stem)
def test_a_suite_is_what_its_file_is_called_and_its_boards_and_networks_exist(path: Path) -> None:
    suite = load_suite(path)
    assert suite.spec.name == path.stem
    assert find_suite(path.stem) == path
    assert set(suite.spec.boards) <= load_instances(load_models()).keys()
    for variant in suite.variants:
        if isinstance(variant.spec.network, NetworkSource):
            assert load_network(variant.spec.network, path.parent)[1]


def test_figures_need_suites_that_exist_and_every_suite_of_the_paper_is_needed() -> None:
    assert {path.stem for path in _SUITES if path.parent.name == "paper"} == _REPRODUCED


@pytest.mark.parametrize("name", sorted(_REPRODUCED))
def test_a_quick_suite_asks_for_less(name: str) -> None:
    whole, quick = load_suite(find_suite(name)), load_suite(find_suite(name), quick=True)
    assert whole.sha256 != quick.sha256 or whole.spec.boards != quick.spec.boards
    assert len(quick.variants) * len(quick.spec.boards) <= len(whole.variants) * len(whole.spec.boards)


def test_a_suite_without_quick_keys_says_so() -> None:
    with pytest.raises(UsageError, match=r"quickstart\.yaml:\d+: the suite has no `quick` keys"):
        load_suite(find_suite("quickstart"), quick=True)


def test_a_quick_key_that_leads_nowhere_is_named_with_its_line(tmp_path: Path) -> None:
    text = find_suite("quickstart").read_text() + "\nquick:\n  name.short: x\n"
    path = tmp_path / "quickstart.yaml"
    path.write_text(text)
    line = text.splitlines().index("  name.short: x") + 1
    with pytest.raises(
        UsageError, match=rf"quickstart\.yaml:{line}: quick key name\.short: there is nothing below"
    ):
        load_suite(path, quick=True)
