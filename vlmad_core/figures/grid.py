"""The category x method grid: every cell can be clicked."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from vlmad_core.figures.style import diverging, ink_on, interpolate, sequential
from vlmad_core.libraries import alt
from vlmad_core.metrics.spec import MEAN

ROW_HEIGHT = 34
SURROUNDINGS = 100
"""Height of the names above and the colour bar below, which Streamlit counts as part of the figure."""
NARROW = 520
"""Width of the figure in pixels below which names are shortened and turned, and numbers written small."""
HEAD_LETTERS = 12
"""Letters in a line of a column's name, at least; longer words stay whole."""
HEAD_LINE = 13
"""Height of such a line in pixels."""
SELECTION = "cell"
"""Name of the selection; it yields the fields ``category`` and ``line`` of the clicked cell."""


def category_grid(frame: pd.DataFrame, label: str, *, dark: bool = False, difference: bool = False) -> alt.Chart:
    """Draw a metric for each category and method.

    Altair, not Plotly: clicks on a Plotly heat map don't reach Streamlit.

    Args:
        frame: As ``vlmad_core.analysis.entries.cells`` or ``differences_to`` gives it; values are fractions. A column
            ``mark``, if there is one, holds what is written behind a value.
        label: Name of the metric.
        dark: Whether the page is dark.
        difference: Whether the values are differences (drawn around zero).

    Returns:
        A chart whose selection ``cell`` holds category and line of the clicked cell.
    """
    data = grid_data(frame, dark=dark, difference=difference)
    low, high = value_range(frame["value"], difference=difference)
    colours = diverging(dark) if difference else sequential(dark)
    pick = alt.selection_point(name=SELECTION, fields=["category", "line"], on="click", empty=False)
    titles = list(dict.fromkeys(data["title"]))
    categories = list(dict.fromkeys(data["category_label"]))
    heads = {title: head_lines(title, len(titles)) for title in titles}
    lines = max(map(len, heads.values()), default=1)
    longest = max((len(line) for head in heads.values() for line in head), default=1)
    base = alt.Chart(data).encode(
        x=alt.X(
            "title:N",
            sort=titles,
            title=None,
            scale=alt.Scale(paddingInner=0.03, paddingOuter=0),
            # Every column is named: names are broken into lines and written as large as their columns allow. On a
            # narrow page names are turned and shortened.
            axis=alt.Axis(
                orient="top",
                labelAngle=_by_width(-55, 0),
                labelAlign=_by_width("'left'", "'center'"),
                labelBaseline=_by_width("'middle'", "'alphabetic'"),
                domain=False,
                ticks=False,
                labelPadding=_by_width(6, 8 + HEAD_LINE * (lines - 1)),
                labelLimit=_by_width(92, 200),
                labelFontSize=_by_width(12, f"max(8, min(12, width / {max(1, len(titles))} / {0.48 * longest:.2f}))"),
                labelLineHeight=HEAD_LINE,
                labelOverlap=False,
                labelFlush=False,
                labelExpr=f"(width < {NARROW} ? {json.dumps(short_names(titles))} : {json.dumps(heads)})[datum.label]",
            ),
        ),
        y=alt.Y(
            "category_label:N",
            sort=categories,
            title=None,
            scale=alt.Scale(paddingInner=0.12, paddingOuter=0),
            axis=alt.Axis(
                domain=False,
                ticks=False,
                labelPadding=_by_width(4, 8),
                labelLimit=_by_width(84, 130),
                labelFontSize=_by_width(11, 13),
                labelBaseline="middle",
                labelFlush=False,
                grid=False,
            ),
        ),
        tooltip=[
            alt.Tooltip("category_label:N", title="Category"),
            alt.Tooltip("title:N", title="Method"),
            alt.Tooltip("shown:N", title=label),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("images:N", title="Images"),
            alt.Tooltip("note:N", title="Note"),
        ],
    )
    cells = base.mark_rect(cornerRadius=4, cursor="pointer", strokeWidth=2).encode(
        fill=alt.Fill(
            "value:Q",
            scale=alt.Scale(domain=[low, high], range=list(colours), clamp=True),
            legend=alt.Legend(
                title=f"{label}{', difference' if difference else ''}",
                orient="bottom",
                direction="horizontal",
                gradientLength=200,
                gradientThickness=10,
                values=[low, (low + high) / 2, high],
                format="+.0%" if difference else ".0%",
                titleLimit=300,
            ),
        ),
        stroke=alt.condition(pick, alt.value("#d9701a"), alt.value("transparent")),
    )
    blank = (
        base.transform_filter("!isValid(datum.value)")
        .mark_rect(cornerRadius=4, cursor="pointer", strokeDash=[3, 3])
        .encode(fill=alt.value("transparent"), stroke=alt.value("#8a96a3"))
    )
    text = base.mark_text(fontSize=_number_size(len(titles)), cursor="pointer").encode(
        text="shown:N", color=alt.Color("ink:N", scale=None)
    )
    layered = alt.layer(cells.transform_filter("isValid(datum.value)").add_params(pick), blank, text)
    height = ROW_HEIGHT * len(categories) + SURROUNDINGS + HEAD_LINE * max(0, lines - 2)
    return layered.properties(height=height).configure_view(strokeWidth=0)


def head_lines(title: str, columns: int) -> Sequence[str]:
    """A column's name in lines: what stands in brackets begins a new one.

    Args:
        title: The name.
        columns: Number of columns that share the width.

    Examples:
        >>> head_lines("AprilLab (APRIL-GAN), trained on bundled_b", 10)
        ['AprilLab', '(APRIL-GAN),', 'trained on', 'bundled_b']
    """
    letters = max(HEAD_LETTERS, 100 // columns)
    name, bracket, rest = title.partition(" (")
    parts = [name, f"({rest}"] if bracket else [name]
    return [line for part in parts for line in textwrap.wrap(part, letters, break_long_words=False)]


def short_names(titles: Sequence[str]) -> dict[str, str]:
    """Names without what stands in brackets, where they can still be told apart.

    Examples:
        >>> short_names(["MuSc (transductive)", "CLIP-AC", "CLIP-AC (templates)"])
        {'MuSc (transductive)': 'MuSc', 'CLIP-AC': 'CLIP-AC', 'CLIP-AC (templates)': 'CLIP-AC (templates)'}
    """
    bare = {title: re.sub(r" \([^)]*\)", "", title) for title in titles}
    counts = Counter(bare.values())
    return {title: name if counts[name] == 1 else title for title, name in bare.items()}


def _by_width(narrow: int | str, wide: int | str) -> alt.ExprRef:
    """One value on a narrow page, another on a wide one."""
    return alt.ExprRef(f"width < {NARROW} ? {narrow} : {wide}")


def _number_size(columns: int) -> alt.ExprRef:
    """Numbers as large as their cells allow, at most 13 pixels."""
    return alt.ExprRef(f"max(8, min(13, width / {max(1, columns)} / 2.9))")


def grid_data(frame: pd.DataFrame, *, dark: bool = False, difference: bool = False) -> pd.DataFrame:
    """What the grid draws: the frame with texts, and black or white ink for each cell.

    Args:
        frame: As for ``category_grid``.
        dark: Whether the page is dark.
        difference: Whether the values are differences.

    Returns:
        category, line, title, value (None where blank), category_label, shown, interval, images, note, ink.
    """
    low, high = value_range(frame["value"], difference=difference)
    colours = diverging(dark) if difference else sequential(dark)
    page = "#9aa7b4" if dark else "#5b6875"
    rows = []
    for row in frame.to_dict("records"):
        value = float(row["value"])
        known = math.isfinite(value)
        place = (value - low) / (high - low) if known else 0.0
        spread = (
            f"{row['low']:.1%} to {row['high']:.1%}"
            if math.isfinite(float(row["low"]))
            else "not computed"
            if row["n"]
            else "–"
        )
        rows.append(
            {
                "category": row["category"],
                "line": row["line"],
                "title": row["title"],
                "value": value if known else None,
                "category_label": category_label(row["category"]),
                "shown": _shown(value, str(row.get("mark", "")), difference) if known else "–",
                "interval": spread if known and not difference else "–",
                "images": str(row["n"]) if row["n"] else "–",
                "note": row["reason"]
                if isinstance(row["reason"], str)
                else ("Mean over categories" if row["category"] == MEAN else "Click to see its failures"),
                "ink": ink_on(interpolate(colours, place)) if known else page,
            }
        )
    return pd.DataFrame(rows)


def _shown(value: float, mark: str, difference: bool) -> str:
    return f"{100 * value:+.1f}{mark}" if difference else f"{100 * value:.1f}{mark}"


def value_range(values: pd.Series, *, difference: bool = False) -> tuple[float, float]:
    """Ends of the colour scale: whole tens of percent around the values, or symmetric for differences.

    Args:
        values: Fractions, may hold blanks.
        difference: Whether the values are differences.

    Examples:
        >>> value_range(pd.Series([0.63, 0.91]))
        (0.6, 1.0)
    """
    known = values.dropna()
    if difference:
        largest = max(0.05, math.ceil(round(20 * float(known.abs().max()), 6)) / 20) if len(known) else 0.05
        return -largest, largest
    if known.empty:
        return 0.0, 1.0
    low = math.floor(round(10 * float(known.min()), 6)) / 10
    high = math.ceil(round(10 * float(known.max()), 6)) / 10
    return low, max(high, low + 0.1)


def category_label(category: str) -> str:
    """A category as it is written: ``metal_nut`` becomes ``metal nut``."""
    return category.replace("_", " ")
