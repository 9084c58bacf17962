"""Files of a core's kernels: table and figure."""

import io
from pathlib import Path
from typing import Any, Final

import pandas as pd

from fqtbench.errors import ResultError
from fqtbench.kernels.measure import to_csv
from fqtbench.kernels.tables import draw
from fqtbench.report import style

_NO_DATE: Final[dict[str, dict[str, Any]]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def write_files(
    rows: pd.DataFrame, folder: Path, name: str, kinds: tuple[str, ...] = ("svg", "pdf")
) -> list[Path]:
    """Write NAME.csv and the figure as `kinds`; the same rows give the same bytes. ResultError if it can't be done."""
    files = {"csv": to_csv(rows).encode()}
    figure = draw(rows)
    for kind in kinds:
        file = io.BytesIO()
        with style.house_style():
            figure.savefig(file, format=kind, metadata=_NO_DATE[kind])
        files[kind] = file.getvalue()
    paths = [folder / f"{name}.{kind}" for kind in files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, files.values(), strict=True):
            path.write_bytes(data)
    except OSError as error:
        raise ResultError(f"{folder}: can't write the kernels' files: {error.strerror or error}") from error
    return paths
