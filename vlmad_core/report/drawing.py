"""Small drawings as SVG text: they need no script, print sharply, and open anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vlmad_core.figures.style import method_style

ROW = 30
WIDTH = 720
NARROWEST_LEFT = 120
LETTER = 7.2
"""About the width of a letter at the labels' size, so that the longest label has room."""
RIGHT = 70
INK = "#1f2933"
GREY = "#7b8794"
LIGHT = "#dde3e8"


@dataclass(frozen=True)
class Bar:
    """A value with its interval.

    Attributes:
        label: Whose value.
        method: Identifier of the method; decides the colour.
        value: A fraction.
        low: Lower end of the interval, or NaN.
        high: Upper end, or NaN.
    """

    label: str
    method: str
    value: float
    low: float
    high: float


def interval_chart(bars: Sequence[Bar], axis: str, *, chance: float | None = None) -> str:
    """Draw values with their intervals, one row each, in the order given.

    Args:
        bars: The values; must not be empty.
        axis: Name of the axis.
        chance: What guessing reaches, drawn as a dotted line; None for nothing.
    """
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if not math.isnan(end)]
    low, high, ticks = axis_range(min([*ends, *([chance] if chance is not None else [])]), max(ends))
    height = len(bars) * ROW + 62
    left = max(NARROWEST_LEFT, 16 + LETTER * max(len(bar.label) for bar in bars))

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - RIGHT)

    bottom = len(bars) * ROW + 12
    parts = [_open(height, f"{axis}: " + ", ".join(f"{bar.label} {100 * bar.value:.1f}%" for bar in bars))]
    for tick in ticks:
        parts.append(_line(x(tick), 8, x(tick), bottom, LIGHT))
        parts.append(_text(x(tick), bottom + 16, f"{100 * tick:.0f}%", "middle", GREY))
    if chance is not None and low <= chance <= high:
        parts.append(_line(x(chance), 8, x(chance), bottom, GREY, dash="3 4"))
        parts.append(_text(x(chance), bottom + 30, "guessing", "middle", GREY))
    for row, bar in enumerate(bars):
        y = 8 + (row + 0.5) * ROW
        colour = method_style(bar.method).colour
        parts.append(_text(left - 12, y + 4, bar.label, "end", INK))
        if not math.isnan(bar.low) and not math.isnan(bar.high):
            parts.append(_line(x(bar.low), y, x(bar.high), y, colour, width=4, opacity=0.4))
        parts.append(f'<circle cx="{x(bar.value):.1f}" cy="{y:.1f}" r="5.5" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 14, y + 4, f"{100 * bar.value:.1f}%", "start", INK))
    parts.append(_text((left + WIDTH - RIGHT) / 2, bottom + 46, axis, "middle", GREY))
    return "".join([*parts, "</svg>"])


def axis_range(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends of an axis for fractions, with three to eight round marks.

    >>> axis_range(0.62, 0.93)
    (0.6, 1.0, [0.6, 0.7, 0.8, 0.9, 1.0])
    """
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5 or step == 0.2)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    first = max(0, first - (last == first))
    last += last == first
    marks = [round(k * step, 6) for k in range(first, last + 1)]
    return marks[0], marks[-1], marks


def _open(height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}" font-family="system-ui, sans-serif" font-size="13">'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, opacity: float = 1, dash: str = ""
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-opacity="{opacity}" stroke-linecap="round"{dashes}/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
