"""The values of the paper, to stand beside ours: M. Deutel et al., IEEE TCAD 44(4), 2025, arXiv 2407.10734.

published.csv has them as its tables and figures give them. Its forward times from scratch are read off a figure. Those
of MCUNet-5FPS are the paper's quotations of Lin et al. 2022 (arXiv 2206.15472) and its own measurement of that network;
what it compares with them states no configuration, but has the time and memory of its `mixed` one on cifar10.
"""

from pathlib import Path
from typing import Final

import pandas as pd

SOURCE: Final = "Deutel et al. 2025, arXiv 2407.10734"
_FILE: Final = Path(__file__).with_name("published.csv")


def published(figure: str, metric: str) -> pd.DataFrame:
    """Return the rows of a figure and metric: network, task, configuration, board, value, unit."""
    table = pd.read_csv(_FILE, keep_default_na=False)
    return table[(table.figure == figure) & (table.metric == metric)].drop(columns=["figure", "metric"])
