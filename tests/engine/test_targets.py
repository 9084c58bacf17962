"""Promise: the engine computes the reference's bits on every core, and touches no byte that isn't its own."""

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, Phase, given, seed, settings
from numpy.typing import NDArray

from fqtbench.paths import share
from fqtbench.training.reference import Trainer
from tests.engine.networks import Case, cases, named
from tests.engine.runners import CORTEX_M0, CORTEX_M4, DOES_NOT_FIT, Emulated, Job, Machine, Sanitized, Steps

_CASES = max(int(os.environ.get("FQTBENCH_ENGINE_CASES", "80")) // 4, 30)
_SAMPLES = 12
pytestmark = pytest.mark.timeout(900)


class Expected(NamedTuple):
    """A case, and the rows that the reference gives for it."""

    job: Job
    rows: NDArray[np.uint32]


def _drawn(n: int) -> list[Case]:
    """Draw `n` cases, the same ones every time."""
    found: list[Case] = []

    @seed(2)
    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(n_samples=_SAMPLES))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def _work(case: Case) -> Expected:
    model = case.compile()
    trainer = Trainer(model.image)
    rows = []
    for x, y in zip(case.x, case.y, strict=True):
        outcome = trainer.train(x.tobytes(), int(y))
        if not np.isfinite(outcome.loss):  # float32 that diverges: nothing is promised of it
            break
        weighted = sum((i + 1) * n for i, n in enumerate(trainer.structures_updated()))
        rows.append((int(outcome.loss.view(np.uint32)), outcome.predicted, trainer.checksum(), weighted))
    n = len(rows)
    samples = tuple((x.tobytes(), int(y)) for x, y in zip(case.x[:n], case.y[:n], strict=True))
    return Expected(Job(model.image, model.plan.peak_bytes, samples), np.array(rows, np.uint32))


@lru_cache(maxsize=1)
def expected() -> list[Expected]:
    return [_work(case) for case in [*named(), *_drawn(_CASES)]]


def _assert_equal(found: list[Steps], worked: list[Expected]) -> int:
    """Compare what fitted; return how many cases that were."""
    fitted = 0
    for number, (steps, wanted) in enumerate(zip(found, worked, strict=True)):
        if steps.status == DOES_NOT_FIT:
            continue
        fitted += 1
        assert steps.status == 0, f"case {number}: status {steps.status}, detail {steps.detail}"
        assert np.array_equal(steps.rows, wanted.rows), f"case {number} differs"
    return fitted


def test_no_sanitizer_finds_anything(tmp_path: Path) -> None:
    """Image and arena are allocated to the byte."""
    worked = expected()
    assert _assert_equal(Sanitized(tmp_path).run([e.job for e in worked]), worked) == len(worked)


@pytest.mark.parametrize(
    ("machine", "share_that_fits"), [(CORTEX_M4, 1.0), (CORTEX_M0, 0.3)], ids=["Cortex-M4", "Cortex-M0"]
)
def test_an_emulated_core_gives_the_references_bits(
    machine: Machine, share_that_fits: float, tmp_path: Path
) -> None:
    worked = expected()
    emulated = Emulated(machine, tmp_path)
    assert _assert_equal(emulated.run([e.job for e in worked]), worked) >= share_that_fits * len(worked)
    assert not _double_arithmetic(emulated.elf)


def test_the_firmware_has_no_double_arithmetic() -> None:
    """A double would be rounded twice, and is slow everywhere here."""
    elves = sorted(share("firmware/prebuilt").glob("*.elf"))
    assert elves
    for elf in elves:
        assert not _double_arithmetic(elf)


def _double_arithmetic(elf: Path) -> list[str]:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert table is not None
        return [symbol.name for symbol in table.iter_symbols() if symbol.name.startswith("__aeabi_d")]
