"""The picture: a panel of bars for each race, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.tables import number

_WIDTH, _LABEL, _BAR, _STEP, _GAP = 520, 230, 180, 20, 24  # in the picture's units
_COLOURS = {"ours": "#2f6f4f", "peer": "#c77d3a", "limit": "#8a8a8a"}


@dataclass(frozen=True)
class Panel:
    """Bars under a title; ``better`` says which way."""

    title: str
    better: str
    bars: Sequence[tuple[str, str, float]]  # label, a key of the colours, value

    @property
    def height(self) -> int:
        """In the picture's units."""
        return 44 + _STEP * len(self.bars)


def draw(panels: Sequence[Panel], caption: str) -> str:
    """All panels in two columns, as the text of an SVG file."""
    columns: list[list[Panel]] = [[], []]
    for panel in panels:
        min(columns, key=_height).append(panel)
    height = max(map(_height, columns)) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH + _GAP} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_legend(),
    ]
    for index, column in enumerate(columns):
        top = 40
        for panel in column:
            parts += _panel(panel, index * (_WIDTH + _GAP) + 12, top)
            top += panel.height
    parts.append(f'<text x="12" y="{height - 10}" fill="#555555" font-size="11">{escape(caption)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _height(column: Sequence[Panel]) -> int:
    return sum(panel.height for panel in column)


def _legend() -> list[str]:
    words: Mapping[str, str] = {"ours": "Flask-Resumable", "peer": "other servers", "limit": "bare loop, no server"}
    parts = []
    for index, (key, text) in enumerate(words.items()):
        x = 12 + 150 * index
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{_COLOURS[key]}"/>')
        parts.append(f'<text x="{x + 18}" y="22" fill="#222222">{text}</text>')
    return parts


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    # The limit may be many times what any server reaches: then its bar is cut.
    values = [value for _, key, value in panel.bars if key != "limit"] or [value for _, _, value in panel.bars]
    largest = max(values, default=0) or 1
    parts = [
        f'<text x="{left}" y="{top + 16}" fill="#222222" font-weight="bold">{escape(panel.title)}'
        f'<tspan fill="#777777" font-weight="normal"> {escape(panel.better)}</tspan></text>'
    ]
    for index, (label, key, value) in enumerate(panel.bars):
        y = top + 26 + index * _STEP
        width = min(_BAR, max(1.0, value / largest * _BAR))
        words = number(value) + (" (bar cut)" if value > largest else "")
        parts += [
            f'<text x="{left + _LABEL - 8}" y="{y + 12}" text-anchor="end" fill="#222222">{escape(label)}</text>',
            f'<rect x="{left + _LABEL}" y="{y}" width="{width:.1f}" height="15" fill="{_COLOURS[key]}"/>',
            f'<text x="{left + _LABEL + width + 5:.1f}" y="{y + 12}" fill="#444444">{words}</text>',
        ]
    return parts
