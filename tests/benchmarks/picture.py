"""Bars with their spread, as an SVG written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, ROW, SCALE = 720, 230, 26, 260
"""Pixels: the whole, the labels, a bar's row, and a ratio of 1."""


@dataclass(frozen=True)
class Bar:
    label: str
    low: float
    value: float
    high: float


def draw(groups: Mapping[str, Sequence[Bar]]) -> str:
    """Draw a group of bars under each title; 1 is what is written by hand."""
    parts, y = [], 0
    for title, bars in groups.items():
        y += ROW + 6
        parts.append(f'<text x="12" y="{y}" font-weight="bold">{escape(title)}</text>')
        top = y + 6
        for bar in bars:
            y += ROW
            end, low, high = (LEFT + ratio * SCALE for ratio in (bar.value, bar.low, bar.high))
            colour = "#2a6fb0" if "blueprint" in bar.label else "#9aa5b1"
            parts += [
                f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{escape(bar.label)}</text>',
                f'<path d="M{LEFT} {y - 4.5}H{end:.0f}" stroke="{colour}" stroke-width="17"/>',
                f'<path d="M{low:.0f} {y - 4.5}H{high:.0f}" stroke="#1f2933" stroke-width="2"/>',
                f'<text x="{max(end, high) + 8:.0f}" y="{y}">{bar.value:.2f}</text>',
            ]
        mark = f"M{LEFT + SCALE} {top}V{y + 8}"
        parts.append(f'<path d="{mark}" stroke="#c0392b" stroke-dasharray="4 3"/>')
    height = y + 44
    note = (
        "1.00 is the app written by hand; higher is better; the line is the middle half of rounds"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="14">',
            f"<title>{escape(', '.join(groups))}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            f'<text x="12" y="{height - 14}" font-size="12">{note}</text>',
            "</svg>\n",
        ]
    )
