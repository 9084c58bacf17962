"""The commands `boards` and `doctor`."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fqtbench.board import (
    BoardInstance,
    BoardModel,
    described_instances,
    find_instance,
    load_instances,
    load_models,
    probe_key,
)
from fqtbench.cli_options import BenchOption, JsonOption, errors, interruptible, output, print_json
from fqtbench.errors import BoardError, UsageError
from fqtbench.lab.checks import Subject
from fqtbench.lab.doctor import Diagnosis, examine, examine_host
from fqtbench.lab.finding import Finding, Severity
from fqtbench.lab.host import Host
from fqtbench.lab.status import Status, status_of
from fqtbench.lab.suggest import suggest
from fqtbench.lab.tables import boards_table, diagnosis_lines, finding_lines


def boards(
    suggested: Annotated[
        bool, typer.Option("--suggest", help="Write an inventory, bench.toml, from what is plugged in.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --suggest: the file to write [default: print it]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --out: overwrite the file.")] = False,
    bench: BenchOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the known boards: attached, busy, missing; and what is plugged in besides."""
    if not suggested and (out is not None or force):
        raise UsageError("--out and --force go with --suggest; add it, or leave them out")
    if suggested and as_json:
        raise UsageError("--suggest writes TOML; leave out one of --suggest and --json")
    models = load_models()
    instances = load_instances(models, bench)
    host = Host()
    if suggested:
        _suggest(host, models, instances, out, force)
        return
    with errors.status("looking at what is attached"):
        statuses = [
            (subject, status_of(subject, host))
            for subject in (Subject(instance, models[instance.model]) for instance in instances.values())
        ]
    if as_json:
        print_json(_inventory(host, models, statuses))
        return
    output.print(boards_table(statuses))
    if host.probes_error is not None:
        errors.print(f"fqtbench: {host.probes_error}", markup=False)
    for line in _attached(host, instances):
        output.print(line, markup=False, highlight=False)


def doctor(
    board: Annotated[
        list[str] | None,
        typer.Argument(help="Boards to look at [default: those of the bench file, or else all]"),
    ] = None,
    program: Annotated[
        bool,
        typer.Option("--program", help="Program the firmware where it isn't, so that the line can be tried."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    bench: BenchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find every reason why a board would not work, and say what to do; exit code 3 if there is one.

    Each board that nobody uses is tried: its chip is halted, read and reset. Nothing is programmed but by --program.
    """
    models = load_models()
    instances = load_instances(models, bench)
    names = board or list(described_instances(models, instances) or instances)
    chosen = [find_instance(name, instances) for name in dict.fromkeys(names)]
    host = Host()
    of_host = examine_host(host, [Subject(i, models[i.model]) for i in instances.values()])
    diagnoses = []
    with interruptible("interrupted; a board that was just tried may be left halted: `fqtbench reset BOARD`"):
        for instance in chosen:
            with errors.status(f"examining {instance.name}"):
                diagnosis = examine(Subject(instance, models[instance.model]), host, program)
            diagnoses.append(diagnosis)
            if not as_json:
                _say(diagnosis_lines(diagnosis))
    if as_json:
        print_json(
            {
                "boards": {d.board: {**asdict(d), "well": not d.has([Severity.ERROR])} for d in diagnoses},
                "host": [asdict(finding) for finding in of_host],
            }
        )
    else:
        for finding in of_host:
            _say(finding_lines(finding))
    judge(diagnoses, of_host, strict)


def judge(diagnoses: list[Diagnosis], of_host: tuple[Finding, ...], strict: bool) -> None:
    """BoardError if a board would not work, or by --strict not well."""
    severities = [Severity.ERROR, Severity.WARNING] if strict else [Severity.ERROR]
    ill = [d.board for d in diagnoses if d.has(severities)]
    if any(finding.severity in severities for finding in of_host):
        ill.append("this host")
    if ill:
        raise BoardError(
            f"not well: {', '.join(ill)}; do what is written beside each finding, then ask again"
        )


def _suggest(
    host: Host,
    models: dict[str, BoardModel],
    instances: dict[str, BoardInstance],
    out: Path | None,
    force: bool,
) -> None:
    text = suggest(host, models, instances.values())
    if host.probes_error is not None:
        errors.print(f"fqtbench: {host.probes_error}", markup=False)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        with out.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"--out {out}: is there already; choose another name, or say --force") from None
    except OSError as error:
        raise UsageError(
            f"--out {out}: can't be written: {error.strerror or error}; choose another"
        ) from error
    output.print(f"{out}: written; read it, and complete what is commented out", markup=False)


def _inventory(
    host: Host, models: dict[str, BoardModel], statuses: list[tuple[Subject, Status]]
) -> dict[str, object]:
    return {
        "boards": {
            s.instance.name: {**s.instance.model_dump(mode="json"), "status": asdict(status)}
            for s, status in statuses
        },
        "models": {name: model.model_dump(mode="json") for name, model in models.items()},
        "probes": [asdict(probe) for probe in host.probes],
        "ports": [{**asdict(port), "identity": port.identity} for port in host.ports],
        "problem": None if host.probes_error is None else str(host.probes_error),
    }


def _attached(host: Host, instances: dict[str, BoardInstance]) -> list[str]:
    """Return a line for each probe and port that is plugged in."""
    lines = []
    for probe in host.probes:
        key = probe_key(probe.probe_id)
        users = [name for name, i in instances.items() if i.probe is not None and probe_key(i.probe) == key]
        lines.append(
            f"attached: probe {probe.probe_id}, {probe.description}: {', '.join(users) or 'of no board'}"
        )
    return lines + [f"attached: serial port {port}" for port in host.ports]


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        output.print(line, markup=False, highlight=False)
