"""Promise: prebuilt kernels take exactly the instructions and cycles of the baseline, and compute what they should."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("unicorn")

from fqtbench.kernels.call import Call, Kernel, Result
from fqtbench.kernels.limits import least_bytes, limit
from fqtbench.kernels.measure import Measured, rows_of, run_all, to_csv
from fqtbench.kernels.prebuilt import kernels_elf
from fqtbench.kernels.rig import CORES
from fqtbench.kernels.shapes import CONVOLUTION, DENSITIES, FULLY_CONNECTED, SHAPES, entries
from tests.kernels.compiled import on_host

_BASELINE: Final = Path(__file__).resolve().parents[2] / "results" / "kernels"
_KEY: Final = ["shape", "kernel", "errors_per_cent"]
_GRADIENTS: Final = (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_PLANAR, Kernel.GRADIENT_SPARSE)


@pytest.fixture(scope="module", params=list(CORES))
def core(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def measured(core: str) -> list[Measured]:
    return run_all(core, kernels_elf(core))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Call], Result]:
    return on_host(tmp_path_factory)


def test_the_prebuilt_kernels_take_what_the_baseline_says(core: str, measured: list[Measured]) -> None:
    rows = rows_of(core, measured)
    found, kept = (table.set_index(_KEY) for table in (rows, pd.read_csv(_BASELINE / f"{core}.csv")))
    counts = ["instructions", "cycles", "code_bytes"]
    differences = found[counts].compare(kept[counts]) if found.index.equals(kept.index) else "other rows"
    if to_csv(rows) != (_BASELINE / f"{core}.csv").read_text():
        pytest.fail(
            f"kernels on {core} differ from results/kernels/{core}.csv; if they should, write it again by "
            f"`python -m benchmarks.kernels`, and docs/kernels.md by `python -m benchmarks.readme`:\n{differences}"
        )


def test_what_is_measured_computes_the_same_bits_as_the_portable_kernels(
    host: Callable[[Call], Result], measured: list[Measured]
) -> None:
    for entry, result, _ in measured:
        expected = host(entry.call)
        what = f"{entry.call.kernel.name} on {entry.name}, {entry.density} % of errors"
        assert _taps(entry.call, result) == _taps(entry.call, expected), what
        assert result[1:4] == expected[1:4], what


def _taps(call: Call, result: Result) -> bytes:
    """Return the result; of gradients, without what fills a row up to a word."""
    if call.kernel not in _GRADIENTS:
        return result.out
    return np.frombuffer(result.out, np.int32).reshape(-1, call.shape.stored)[:, : call.shape.taps].tobytes()


def test_no_kernel_goes_below_its_limit(core: str, measured: list[Measured]) -> None:
    """Else the limit would be none."""
    rows = rows_of(core, measured)
    bounded = rows[rows.share_of_limit.notna()]
    assert set(bounded.kernel) > {"forward", "gradient dense", "error sparse", "fold"}
    assert bounded[bounded.share_of_limit > 1].empty


def test_code_is_what_a_call_enters(core: str, measured: list[Measured]) -> None:
    """Every kernel has some, all of them together are in the ELF, and a skipped branch doesn't count for a kernel."""
    sizes = [one.code_bytes for one in measured]
    assert min(sizes) > 100
    assert max(sizes) < kernels_elf(core).stat().st_size
    assert len(set(sizes)) > len(SHAPES)


def test_errors_are_as_dense_as_the_table_says() -> None:
    seen = set()
    for entry in entries():
        error = entry.call.tensors.get("error")
        if error is None:
            continue
        zero = 0 if error.dtype == np.float32 else 128
        assert np.count_nonzero(error != zero) == round(entry.density / 100 * entry.call.shape.errors)
        seen.add(entry.density)
    assert seen == set(DENSITIES)


def test_limits_are_those_of_the_best_block() -> None:
    assert least_bytes(32, 256) == (2 + 4) / (2 * 4)
    assert least_bytes(64, 1) == (10 + 1) / 10  # a fully connected layer reads each weight once
    assert limit("cortex-m4", Kernel.FORWARD, SHAPES[CONVOLUTION], 100) == (0.5, 0.1875)
    assert limit("cortex-m7", Kernel.FOLD_OUTER, SHAPES[FULLY_CONNECTED], 100) == (0.5, 0.5)
    assert limit("cortex-m4", Kernel.ERROR_SPARSE, SHAPES[CONVOLUTION], 10) == pytest.approx((0.05, 0.01875))
    assert limit("cortex-m4", Kernel.FLOAT_ERROR, SHAPES[CONVOLUTION], 100) is None
