"""The picture of a memory plan: bytes over the moments of one training step."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.training.plan import MemoryPlan, moment_name

_KB: Final = 1024
_COLOURS: Final = {
    "weights": style.COLOURS[0],
    "gradient": style.COLOURS[5],
    "activation": style.COLOURS[2],
    "error": style.COLOURS[1],
    "state": "#9a9a9a",
}


def draw_plan(plan: MemoryPlan, layer_names: Sequence[str], title: str) -> Drawing:
    """Draw each buffer as a rectangle: as wide as its life, as high as its bytes, one panel a region."""
    used = [region for region, peak in enumerate(plan.region_peaks) if peak]
    with style.house_style():
        figure, panels = style.new_figure(len(used), 4.4, 7.6)
        for axes, region in zip(panels, used, strict=True):
            _draw_region(axes, plan, region, 2 * len(layer_names))
        panels[0].set_ylabel("Offset in the arena (KB, planned)")
        panels[0].set_title(title)
        single = len(used) == 1
        if single:
            panels[0].axhline(plan.lower_bound_bytes / _KB, color="#222222", linewidth=1.0, linestyle=":")
        kinds = [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items()]
        panels[-1].legend(handles=kinds, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    rows = [
        {
            "buffer": placed.buffer.name,
            "kind": placed.buffer.kind,
            "region": placed.region,
            "offset": placed.offset,
            "bytes": placed.buffer.n_bytes,
            "first": moment_name(placed.buffer.first, layer_names),
            "last": moment_name(placed.buffer.last, layer_names),
        }
        for placed in plan.placements
    ]
    caption = "Each buffer over one training step: forward, backward, update. Dotted: the lower bound."
    return Drawing("memory_plan", caption, figure, pd.DataFrame(rows))


def _draw_region(axes: Axes, plan: MemoryPlan, region: int, update: int) -> None:
    for placed in plan.placements:
        if placed.region == region:
            buffer = placed.buffer
            corner = (buffer.first - 0.5, placed.offset / _KB)
            size = buffer.last - buffer.first + 1, buffer.aligned_bytes / _KB
            axes.add_patch(
                Rectangle(corner, *size, facecolor=_COLOURS[buffer.kind], edgecolor="white", linewidth=0.4)
            )
    peak_kb = plan.region_peaks[region] / _KB
    axes.axhline(peak_kb, color="#222222", linewidth=1.0)
    axes.annotate(
        f"peak {peak_kb:.1f} KB", (0, peak_kb), xytext=(0, 3), textcoords="offset points", fontsize=9
    )
    axes.set_xlim(-0.5, update + 0.5)
    axes.set_ylim(0, peak_kb * 1.12)
    middle = update / 4
    axes.set_xticks([middle, 3 * middle, update], ["forward", "backward", "update"])
    axes.axvline(update / 2 - 0.5, color=style.MUTED, linewidth=0.8)
    axes.set_xlabel(
        "Passes of one training step" + (f", region {region}" if len(plan.region_bytes) > 1 else "")
    )
    axes.grid(visible=False)
