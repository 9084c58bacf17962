"""The baseline of the kernels, and where dense ones begin to pay: ``python -m benchmarks.kernels``.

Writes results/kernels/<core>.csv and .svg, as `fqtbench kernels` does, and crossovers.csv: the share of errors that are
not zero, in per cent, from which the dense kernel (of depthwise layers, the planar one) takes fewer cycles than the one
that skips zeros; 101: from none.
Then keeps the promises of kernel_bounds.
"""

from typing import Final

import pandas as pd

from benchmarks.kernel_bounds import FOLDER, keep_promises
from fqtbench.kernels.call import Kernel, Shape
from fqtbench.kernels.folder import write_files
from fqtbench.kernels.measure import measure
from fqtbench.kernels.prebuilt import kernels_elf
from fqtbench.kernels.rig import CORES, OnCore
from fqtbench.kernels.shapes import SHAPES, call_of, kernels_of

_PAIRS: Final = {
    "gradient": (Kernel.GRADIENT_SPARSE, (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_PLANAR)),
    "error": (Kernel.ERROR_SPARSE, (Kernel.ERROR_DENSE, Kernel.ERROR_PLANAR)),
}


def _crossover(run: OnCore, shape: Shape, sparse: Kernel, dense: Kernel) -> int:
    slower, faster = 0, 101
    while faster - slower > 1:
        share = (slower + faster) // 2
        if run(call_of(dense, shape, share)).cycles < run(call_of(sparse, shape, share)).cycles:
            faster = share
        else:
            slower = share
    return faster


def _crossovers() -> pd.DataFrame:
    rows = []
    for core in CORES:
        run = OnCore(kernels_elf(core), core)
        for name, shape in SHAPES.items():
            known = {kernel for kernel, _ in kernels_of(shape)}
            row: dict[str, object] = {"core": core, "shape": name}
            for what, (sparse, others) in _PAIRS.items():
                dense = next((kernel for kernel in others if kernel in known), None)
                row[f"{what}_per_cent"] = None if dense is None else _crossover(run, shape, sparse, dense)
            rows.append(row)
    return pd.DataFrame(rows).convert_dtypes()


def main() -> None:
    """Measure every kernel on every shape and core."""
    for core in CORES:
        rows = measure(core)
        paths = write_files(rows, FOLDER, core, ("svg",))
        print(*paths, sep="\n", flush=True)
    _crossovers().to_csv(FOLDER / "crossovers.csv", index=False, lineterminator="\n")
    keep_promises()


if __name__ == "__main__":
    main()
