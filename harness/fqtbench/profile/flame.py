"""Flame graphs: call chains as the folded text that other viewers read, and as an SVG drawing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from fqtbench.profile.model import PhaseName, Stack

_WIDTH_PX: Final = 1200
_ROW_PX: Final = 17
_MARGIN_PX: Final = 8
_TITLE_PX: Final = 24
_CHARACTER_PX: Final = 6.6  # of the 11 px monospace font
_LEAST_PX: Final = 0.3  # what is narrower is not drawn
_COLOURS: Final[dict[PhaseName | None, str]] = {
    "forward": "#8ecae6",
    "select": "#cdb4db",
    "error": "#ffb703",
    "gradient": "#fb8500",
    "update": "#95d5b2",
    None: "#d9d9d9",
}


@dataclass
class _Frame:
    """A box: `cycles` with all that stands on it."""

    name: str
    phase: PhaseName | None
    cycles: int = 0
    above: dict[str, "_Frame"] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return 1 + max((frame.height for frame in self.above.values()), default=0)


def folded(stacks: Iterable[Stack]) -> str:
    """Return one line a chain: frames joined by semicolons, a space, the cycles in the last one."""
    lines = [f"{';'.join(map(_plain, s.frames))} {s.cycles}" for s in stacks if s.frames and s.cycles]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return name.replace(";", ":").replace("\n", " ")


def draw(stacks: Iterable[Stack], title: str, steps: int) -> str:
    """Return an SVG: widths are cycles, colours phases; each box has its figures, a training step's, as a tooltip."""
    root = _tree(stacks)
    rows = root.height
    height = _TITLE_PX + rows * _ROW_PX + 2 * _MARGIN_PX
    boxes: list[str] = []
    _draw(root, float(_MARGIN_PX), height - _MARGIN_PX - _ROW_PX, root.cycles, steps, boxes)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH_PX}" height="{height}" '
        f'viewBox="0 0 {_WIDTH_PX} {height}" font-family="monospace" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{_MARGIN_PX}" y="16" font-size="13">{escape(title)}</text>\n'
    )
    return head + _legend() + "\n".join(boxes) + "\n</svg>\n"


def _legend() -> str:
    parts = []
    x = _WIDTH_PX - _MARGIN_PX - 90 * len(_COLOURS)
    for phase, colour in _COLOURS.items():
        parts.append(
            f'<rect x="{x}" y="7" width="11" height="11" fill="{colour}"/>'
            f'<text x="{x + 15}" y="16">{phase or "outside"}</text>\n'
        )
        x += 90
    return "".join(parts)


def _tree(stacks: Iterable[Stack]) -> _Frame:
    root = _Frame("all", None)
    for stack in stacks:
        frame = root
        frame.cycles += stack.cycles
        for depth, name in enumerate(stack.frames, 1):
            last = depth == len(stack.frames)
            frame = frame.above.setdefault(name, _Frame(name, stack.phase if last else None))
            frame.phase = stack.phase if last else frame.phase
            frame.cycles += stack.cycles
    return root


def _draw(frame: _Frame, x: float, y: int, all_cycles: int, steps: int, boxes: list[str]) -> None:
    width = (_WIDTH_PX - 2 * _MARGIN_PX) * frame.cycles / max(all_cycles, 1)
    if width < _LEAST_PX:
        return
    share = frame.cycles / max(all_cycles, 1)
    tip = f"{frame.name}: {frame.cycles / steps:,.0f} cycles a step, {share:.2%}"
    letters = int((width - 4) / _CHARACTER_PX)
    label = frame.name if len(frame.name) <= letters else frame.name[: max(letters - 1, 0)] + "…"
    text = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text>' if letters >= 3 else ""
    boxes.append(
        f'<g><title>{escape(tip)}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW_PX - 1}" '
        f'fill="{_COLOURS[frame.phase]}" stroke="white" stroke-width="0.5"/>{text}</g>'
    )
    for child in sorted(frame.above.values(), key=lambda f: f.name):
        _draw(child, x, y - _ROW_PX, all_cycles, steps, boxes)
        x += (_WIDTH_PX - 2 * _MARGIN_PX) * child.cycles / max(all_cycles, 1)
