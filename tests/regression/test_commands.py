"""Promise: what can't be compared ends in exit code 2, never in that of a regression, and before any work is done."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fqtbench.cli import app
from fqtbench.errors import RegressionError, UndecidedError, UsageError
from tests.experiment import suites
from tests.regression import folders
from tests.regression.folders import edited, scaled

UNUSABLE = 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.record(tmp_path_factory.mktemp("commands"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _fqtbench(*arguments: str | Path) -> str:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False).stdout


def test_what_is_no_results_folder_is_unusable(recorded: Path, tmp_path: Path) -> None:
    assert UndecidedError.exit_code == UsageError.exit_code == UNUSABLE
    for arguments in ((recorded, "nowhere"), ("nowhere", recorded), (tmp_path, recorded)):
        with pytest.raises(UndecidedError, match="no results folder"):
            _fqtbench("compare", *arguments)


@pytest.mark.parametrize("option", ["--junit", "--json", "--markdown"])
def test_a_file_that_can_not_be_written_is_said_before_the_work(recorded: Path, option: str) -> None:
    suites.write(Path(), suites.tiny())
    with pytest.raises(UsageError, match="there is no folder no; make it first"):
        _fqtbench("gate", "suite.yaml", "--baseline", recorded, option, "no/such.file")
    assert not Path("out").exists()


def test_gate_toml_of_the_working_folder_holds_unless_another_is_named(
    recorded: Path, tmp_path: Path
) -> None:
    slower = edited(recorded, tmp_path / "slower", scaled(1.05, "update_s"))
    with pytest.raises(
        RegressionError, match=r"1 worse.*; mend it, or accept it by `fqtbench baseline update"
    ):
        _fqtbench("compare", recorded, slower)
    Path("gate.toml").write_text("[metrics.update_s]\nallowance = 0.06\n")
    assert "15 as before" in _fqtbench("compare", recorded, slower)
    Path("other.toml").write_text("[metrics.update_ms]\nallowance = 0.06\n")
    with pytest.raises(UsageError, match=r"other\.toml.*did you mean update_s"):
        _fqtbench("compare", recorded, slower, "--gate", "other.toml")


def test_an_irreproducible_figure_is_not_to_be_accepted(recorded: Path, tmp_path: Path) -> None:
    def edit(result: folders.Result) -> None:
        result["metrics"]["step_s"]["value"] *= 2

    with pytest.raises(RegressionError, match="find out why it does not"):
        _fqtbench("compare", recorded, edited(recorded, tmp_path / "new", edit))


def test_github_s_summary_gets_the_markdown(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("of an earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    _fqtbench("compare", recorded, recorded, "--github", "--markdown", "own.md")
    assert summary.read_text() == "of an earlier step\n" + Path("own.md").read_text()


def test_an_update_says_what_it_accepts(recorded: Path, tmp_path: Path) -> None:
    slower = edited(recorded, tmp_path / "slower", scaled(1.05, "update_s"))
    _fqtbench("baseline", "update", "kept", recorded, "--reason", "the first one")
    told = _fqtbench("baseline", "update", "kept", slower, "--reason", "worth it")
    assert told.startswith("accepted: tiny on nrf52840: Update: ")
    assert "kept/history.json says why" in told
