"""Methods in order of a metric, each with its interval."""

from __future__ import annotations

import altair as alt
import pandas as pd

from vlmad_core.figures.colours import method_style

ROW_HEIGHT, NARROW_ROW = 44, 30


def ranking_chart(board: pd.DataFrame, label: str, *, chance: float | None = None) -> alt.LayerChart:
    """Draw each line's value with its interval, best first.

    Args:
        board: method, title, value, low, high, rank (of one metric, one data set, equal conditions); blanks
            are left out: they have no place in an order.
        label: Name of the metric.
        chance: Value that guessing reaches, drawn as a line; None where there is no such value.
    """
    data = ranking_data(board)
    names = list(data["title"])
    low = min([*data["low"], chance if chance is not None else 1.0])
    high = max([*data["high"], chance if chance is not None else 0.0])
    pad = max(0.02, 0.08 * (high - low))
    scale = alt.Scale(domain=[max(0.0, low - pad), min(1.0, high + pad)], nice=False)
    tooltip = [
        alt.Tooltip("title:N", title="Method"),
        alt.Tooltip("value:Q", title=label, format=".1%"),
        alt.Tooltip("low:Q", title="95% interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
    ]
    y = alt.Y(
        "title:N",
        sort=names,
        title=None,
        axis=alt.Axis(domain=False, ticks=False, labelLimit=190, labelFlush=False, labelBaseline="middle"),
    )
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    ends = base.mark_rule(strokeWidth=3, opacity=0.45, strokeCap="round").encode(
        x=alt.X("low:Q", title=label, scale=scale, axis=alt.Axis(format=".0%")),
        x2="high:Q",
        color=colour,
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("value:Q", scale=scale), color=colour, shape=alt.Shape("shape:N", scale=None, legend=None)
    )
    values = base.mark_text(dy=-13, fontSize=12).encode(
        x=alt.X("value:Q", scale=scale), text=alt.Text("value:Q", format=".1%"), color=colour
    )
    layers = [ends, points, values]
    if chance is not None:
        rule = alt.Chart(pd.DataFrame({"x": [chance], "what": ["Chance level"]}))
        layers.insert(
            0,
            rule.mark_rule(strokeDash=[4, 4], color="#8a96a3").encode(
                x=alt.X("x:Q", scale=scale), tooltip=alt.Tooltip("what:N", title="Line")
            ),
        )
    row = ROW_HEIGHT if len(names) <= 6 else NARROW_ROW
    return alt.layer(*layers).properties(height=max(2, len(names)) * row + 60)


_SHAPES = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle-up": "triangle-up"}


def ranking_data(board: pd.DataFrame) -> pd.DataFrame:
    """What the chart draws: lines that have a value, best first, with colour and shape.

    Args:
        board: As for ``ranking_chart``.
    """
    kept = board[board["value"].notna()].sort_values(["rank", "title"], ignore_index=True)
    styles = [method_style(method) for method in kept["method"]]
    return pd.DataFrame(
        {
            "title": _unique(kept),
            "value": kept["value"].astype(float),
            "low": kept["low"].astype(float).fillna(kept["value"].astype(float)),
            "high": kept["high"].astype(float).fillna(kept["value"].astype(float)),
            "colour": [style.colour for style in styles],
            "shape": [_SHAPES.get(style.symbol, "cross") for style in styles],
        }
    )


def _unique(board: pd.DataFrame) -> list[str]:
    """Titles, told apart by shots and preset where a title occurs twice."""
    titles = board["title"].tolist()
    if len(set(titles)) == len(titles):
        return titles
    return [
        f"{row['title']} · {row['shots']} ref." + ("" if row["preset"] == "canonical" else f" · {row['preset']}")
        for row in board.to_dict("records")
    ]
