"""Promise: where a core has no FPU, the engine's square root has the bits of IEEE 754's."""

import subprocess
from pathlib import Path

from tests.tools import require

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "firmware" / "engine"


def test_the_root_in_integers_is_correctly_rounded(tmp_path: Path) -> None:
    """All mantissas of both parities of the exponent, so all there are; the exponent only shifts."""
    program = tmp_path / "sqrt"
    sources = [str(ROOT / "tests" / "engine" / "sqrt.c"), str(ENGINE / "arithmetic.c")]
    flags = ["-std=c11", "-O2", "-ffp-contract=off", "-DFQT_SQRT_INTEGER", f"-I{ENGINE}"]
    subprocess.run([require("gcc", "gcc"), *flags, *sources, "-o", program, "-lm"], check=True, timeout=100)
    done = subprocess.run([program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
