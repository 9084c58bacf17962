"""A promised figure: what it is, what was measured, and the command that shows it."""

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "results" / "promises"


class Promise(NamedTuple):
    """One line of the table in docs/promises.md; the README has the chief ones, and those that are not kept.

    `bound` and `value` are text with units; `kept` says whether the bound holds. `shortfall` is the known reason why it
    doesn't; beside a promise that is kept there must be none (tests/test_documents.py).
    """

    order: int
    what: str
    bound: str
    value: str
    kept: bool
    command: str
    shortfall: str = ""


def keep(name: str, promise: Promise) -> None:
    """Print the figure and write results/promises/NAME.json.

    With FQTBENCH_STRICT in the environment nothing is written, and a broken promise ends the program, unless it has a
    shortfall.
    """
    verdict = "kept" if promise.kept else "NOT KEPT"
    print(f"{promise.what}: {promise.value} ({verdict}: {promise.bound})", flush=True)
    if os.environ.get("FQTBENCH_STRICT"):
        if not promise.kept and not promise.shortfall:
            raise SystemExit(f"{name}: the promise is not kept")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(promise._asdict(), indent=2, ensure_ascii=False) + "\n")


def load_all() -> dict[str, Promise]:
    """Return all figures kept by their names, in the documents' order."""
    promises = {path.stem: Promise(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))}
    return dict(sorted(promises.items(), key=lambda item: item[1]))
