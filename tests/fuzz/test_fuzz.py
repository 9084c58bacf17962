"""Promise: no bytes, as an image or on the line, lead to undefined behaviour. ``make fuzz`` looks longer."""

import os
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target, fuzz

_SECONDS = int(os.environ.get("FQTBENCH_FUZZ_SECONDS", "5"))
_LEAST_INPUTS = 200


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_is_a_finding(target: Target, tmp_path: Path) -> None:
    said = fuzz(target, tmp_path, _SECONDS)
    executed = next(line for line in said.splitlines() if line.startswith("stat::number_of_executed_units"))
    assert int(executed.split()[-1]) >= _LEAST_INPUTS
