"""Every declared fault, injected into a suite on a virtual board: ``python -m benchmarks.reliability``.

Runs the tests that declare a fault, the slow ones too, keeps what they saw in results/reliability, and how many held.
With FQTBENCH_STRICT in the environment only the slow ones: `make test` has the others. The SIGKILLs of the orchestrator
are those of benchmarks/kills.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.reliability.matrix import FOLDER as FOLDER_VARIABLE

from benchmarks.promise import ROOT, Promise, keep
from benchmarks.reliability_tables import FOLDER

_FOLDERS: Final = ("reliability", "hosts")
_SLOW: Final = "slow_*.py"
_QUICK: Final = "test_*.py"
_DEADLINE_S: Final = 3600


def _observe(folder: Path) -> tuple[list[dict[str, Any]], bool]:
    """Run the tests; return what each fault did, and whether all of them passed."""
    folders = [ROOT / "tests" / name for name in _FOLDERS]
    kinds = (_SLOW,) if os.environ.get("FQTBENCH_STRICT") else (_SLOW, _QUICK)
    modules = [str(path) for folder in folders for kind in kinds for path in sorted(folder.glob(kind))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "fault", *modules],
        cwd=ROOT,
        env=os.environ | {FOLDER_VARIABLE: str(folder)},
        timeout=_DEADLINE_S,
        check=False,
    )
    outcomes = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    return outcomes, done.returncode == 0


def main() -> None:
    """Inject all of them, keep what happened."""
    with tempfile.TemporaryDirectory() as temporary:
        outcomes, passed = _observe(Path(temporary))
        if not os.environ.get("FQTBENCH_STRICT"):
            shutil.rmtree(FOLDER, ignore_errors=True)
            shutil.copytree(temporary, FOLDER)
    held = sum(bool(outcome["happened"]) for outcome in outcomes)
    keep("reliability", Promise(8, "faults of boards, lines, probes, power, disk and people (docs/reliability.md)",
                                "each with the outcome that it must have", f"{held} of {len(outcomes)} faults",
                                passed and 0 < held == len(outcomes), "python -m benchmarks.reliability"))  # fmt: skip


if __name__ == "__main__":
    main()
