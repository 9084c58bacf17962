"""Promise: CI templates keep a board to one job, which nobody cancels and no fork starts, and keep the results."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from typer.core import TyperGroup

from fqtbench.board import load_instances, load_models
from fqtbench.cli import app
from fqtbench.experiment.spec import find_suite
from fqtbench.pytest_plugin import pytest_addoption

_ROOT: Final = Path(__file__).resolve().parents[2]
_TEMPLATES: Final = sorted((_ROOT / "ci").rglob("*.yml"))
_LAB: Final = [path for path in _TEMPLATES if path.stem == "lab"]
_VARIABLE: Final = re.compile(r"\$\{\{[^}]*\}\}|\$\w+")


def _read(path: Path) -> dict[Any, Any]:
    """YAML 1.1 reads GitHub's key `on` as true."""
    data: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {("on" if key is True else key): value for key, value in data.items()}


def _jobs(path: Path) -> dict[str, dict[str, Any]]:
    data = _read(path)
    jobs: dict[str, dict[str, Any]] = data["jobs"] if path.parent.name == "github" else data
    return jobs


def _commands(path: Path) -> Iterator[list[str]]:
    """Yield every command line, with a board's name where a variable stands for it."""
    for job in _jobs(path).values():
        steps = [step.get("run", "") for step in job.get("steps", ())]
        scripts = [*steps, *job.get("script", ()), *job.get("after_script", ())]
        for line in "\n".join(scripts).splitlines():
            yield shlex.split(_VARIABLE.sub("virtual-nrf52840", line))


def _name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_there_is_one_for_lab_and_virtual_boards_of_each_service() -> None:
    assert [_name(path) for path in _TEMPLATES] == [
        "github-lab",
        "github-virtual",
        "gitlab-lab",
        "gitlab-virtual",
    ]
    document = (_ROOT / "docs/ci.md").read_text()
    assert all(f"`{path.relative_to(_ROOT)}`" in document for path in _TEMPLATES)


def test_github_one_job_a_board_never_cancelled_and_none_of_a_fork() -> None:
    workflow = _read(_ROOT / "ci/github/lab.yml")
    assert workflow["on"].keys() == {"push", "workflow_dispatch", "schedule"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["concurrency"] == {"group": "fqt-board-${{ matrix.board }}", "cancel-in-progress": False}
        assert job["if"] == "github.event.repository.fork == false"
        assert "self-hosted" in job["runs-on"]
        assert job["strategy"]["fail-fast"] is False
        assert job["timeout-minutes"] > 0


def test_gitlab_one_job_a_board_never_cancelled_and_none_of_a_fork() -> None:
    for job in _jobs(_ROOT / "ci/gitlab/lab.yml").values():
        assert (job["resource_group"], job["interruptible"]) == ("fqt-board-$BOARD", False)
        assert [list(matrix) for matrix in job["parallel"]["matrix"]] == [["BOARD"]]
        assert job["rules"] == [
            {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"},
            {"if": '$CI_COMMIT_REF_PROTECTED == "true"'},
        ]
        assert job["tags"] == ["fqt-lab"]


def test_a_forks_code_meets_virtual_boards_only_on_hosted_machines() -> None:
    workflow = _read(_ROOT / "ci/github/virtual.yml")
    assert "pull_request" in workflow["on"]
    assert "pull_request_target" not in workflow["on"]
    for job in workflow["jobs"].values():
        assert job["runs-on"].startswith("ubuntu-")
        assert all(name in load_instances(load_models()) for name in job["strategy"]["matrix"]["board"])


@pytest.mark.parametrize("path", _TEMPLATES, ids=_name)
def test_results_are_kept_whatever_happens(path: Path) -> None:
    for job in _jobs(path).values():
        if path.parent.name == "gitlab":
            assert (job["artifacts"]["when"], job["artifacts"]["paths"]) == ("always", ["out/"])
        else:
            last = job["steps"][-1]
            assert last["uses"].startswith("actions/upload-artifact@")
            assert (last["if"], last["with"]["path"]) == ("always()", "out/")


@pytest.mark.parametrize("path", _TEMPLATES, ids=_name)
def test_its_commands_are_those_of_this_command_line(path: Path) -> None:
    """Parsed by the real parsers, without being run."""
    seen = set()
    for command in _commands(path):
        program = Path(command[0]).name if command else ""
        if program == "fqtbench":
            seen.add(_parsed(command[1:]))
        elif program == "pytest":
            parser = pytest.Parser(_ispytest=True)
            pytest_addoption(parser)
            options = {name for option in parser.getgroup("fqtbench").options for name in option.names()}
            assert {word for word in command if word.startswith("--fqt-")} <= options
            seen.add("pytest")
    assert {"gate", "pytest"} <= seen
    assert ("doctor" in seen) == (path in _LAB)


def _parsed(arguments: list[str]) -> str:
    """Return the command; click raises for what it doesn't know."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name, *rest = arguments
    with group.commands[name].make_context(name, rest) as context:
        if name == "gate":
            assert find_suite(context.params["suite"]).is_file()
            assert {"junit", "json"} <= {key for key, value in context.params.items() if value}
    return name
