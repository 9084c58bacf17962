"""What a person sees of the bench: the table of boards, and diagnoses."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich import box
from rich.table import Table

from fqtbench.board import BoardInstance, BoardModel
from fqtbench.lab.checks import Subject
from fqtbench.lab.doctor import Diagnosis
from fqtbench.lab.finding import Finding
from fqtbench.lab.status import Status

_PARTS = {
    "monitor": "the power monitor opens",
    "probe": "the probe connects to the chip",
    "port": "the serial port opens",
    "line": "the firmware answers on it",
}


def boards_table(boards: Iterable[tuple[Subject, Status]]) -> Table:
    """Return the table of known boards."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("board", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("model")
    table.add_column("where", overflow="fold")
    for subject, status in boards:
        where = _where(subject.instance)
        if status.detail:
            where += f"\n{status.detail}"
        table.add_row(subject.instance.name, status.state, _describe(subject.model), where)
    return table


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the lines of a board's diagnosis: what works, then each finding with its remedy."""
    works = ", ".join(_PARTS.get(part, part) for part in diagnosis.tried)
    if not diagnosis.findings:
        yield f"{diagnosis.board}: well{f': {works}' if works else ''}"
        return
    yield f"{diagnosis.board}:{f' {works}' if works else ''}"
    for finding in diagnosis.findings:
        yield from finding_lines(finding)


def finding_lines(finding: Finding) -> Iterator[str]:
    """Yield the lines of one finding."""
    yield f"  {finding}"
    first, *more = finding.remedy.splitlines()
    yield f"    to do: {first}"
    yield from (f"      {line}" for line in more)


def _where(instance: BoardInstance) -> str:
    if instance.launch:
        return f"launches {Path(instance.launch[0]).name} {' '.join(instance.launch[1:])}"
    if instance.probe is None:
        return "here"
    return f"probe {instance.probe}, serial {instance.serial}"


def _describe(model: BoardModel) -> str:
    if model.clock_hz is None:
        return f"{model.title}: the training engine as a library, no latency or energy"
    memory = f"{model.memory.flash_bytes // 1024} KB flash, {model.memory.ram_bytes // 1024} KB RAM"
    return f"{model.title}: {model.core}, {model.clock_hz / 1e6:g} MHz, {memory}"
