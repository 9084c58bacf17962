"""The tables of docs/reliability.md, from results/reliability: what each fault did, as its test saw it."""

import json
from typing import Any, Final

from tests.reliability.matrix import NOT_COVERED

from benchmarks.promise import ROOT, load_all

FOLDER: Final = ROOT / "results" / "reliability"
_KILLS: Final = "SIGKILL of the orchestrator"


def outcomes() -> list[dict[str, Any]]:
    """Return what the tests saw, one a fault."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]


def faults() -> str:
    """Return the matrix of fault and outcome, as Markdown."""
    lines = [
        "| fault | how it is injected | what must come of it | what came of it | attempts | s |",
        "|---|---|---|---|---:|---:|",
    ]
    for outcome in outcomes():
        fault = outcome["fault"]
        cells = (
            *(fault["what"], fault["injected"], fault["expected"]),
            outcome["happened"] or "**the test failed**",
            str(outcome["attempts"] or "–"),
            f"{outcome['seconds']:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    for promise in load_all().values():
        if promise.what.startswith(_KILLS):
            lines.append(
                f"| {promise.what} | `{promise.command}` | {promise.bound} | {promise.value} | – | – |"
            )
    return "\n".join(lines)


def told() -> str:
    """Return the line that the user sees of each fault which he is told of, as Markdown."""
    lines = ["| fault | what is printed |", "|---|---|"]
    lines += [
        f"| {o['fault']['what']} | {o['told'].replace('|', chr(92) + '|')} |" for o in outcomes() if o["told"]
    ]
    return "\n".join(lines)


def not_covered() -> str:
    """Return the faults that no test injects, or that are not survived, as Markdown."""
    if not NOT_COVERED:
        return "Each fault that is asked for has its test."
    lines = ["| fault | what must come of it | why not yet |", "|---|---|---|"]
    lines += [f"| {fault.what} | {fault.expected} | {reason} |" for fault, reason in NOT_COVERED]
    return "\n".join(lines)
