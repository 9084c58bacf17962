"""What a figure is, besides its picture."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure, the table behind it, and the caption under it."""

    name: str
    caption: str
    figure: Figure
    table: pd.DataFrame
