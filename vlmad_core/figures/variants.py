"""What a change does: other words by category and phrase by phrase, more references, and the variants of the study."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd

from vlmad_core.figures.style import calm, diverging, method_style
from vlmad_core.libraries import go

ROW_HEIGHT, STUDY_ROW = 26, 34
LONGEST = 42
"""Characters of a phrase shown beside its bar; all of it is in the hover text."""

ACCENT, BASE, SEEN = "#2F7F86", "#8592A0", "#C2385C"
"""Colours of a variant, of what it is held against, and of what was trained on the data it is judged on."""


def change_figure(frame: pd.DataFrame, label: str, dark: bool = False) -> go.Figure:
    """Draw how much a metric changes in each category: a dot, and its interval where there is one.

    Args:
        frame: name, difference, low, high (points in percent, NaN where missing), value, base; in the order to draw.
        label: Name of the metric.
        dark: Whether the page is dark.
    """
    rows = frame[frame["difference"].notna()]
    colours = diverging(dark)
    names = [html.escape(str(name)) for name in rows["name"]]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": "#8a96a3", "width": 1})
    figure.add_scatter(
        x=rows["difference"],
        y=names,
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["difference"]).fillna(0.0),
            "arrayminus": (rows["difference"] - rows["low"]).fillna(0.0),
            "thickness": 1.4,
            "width": 0,
            "color": "#8a96a3",
        },
        marker={"size": 10, "color": [colours[-1] if gap >= 0 else colours[0] for gap in rows["difference"]]},
        customdata=rows[["base", "value"]],
        hovertemplate="%{y}: %{customdata[0]:.1f} → %{customdata[1]:.1f} (%{x:+.1f})<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=f"Change in {label}, points", ticksuffix="")
    figure.update_yaxes(autorange="reversed", type="category")
    return calm(figure, 90 + ROW_HEIGHT * max(len(rows), 1))


def effect_figure(phrases: Sequence[str], adds: Sequence[float | None], dark: bool = False) -> go.Figure:
    """Draw what each phrase adds to the image AUROC: a bar to the right helps, one to the left harms.

    Args:
        phrases: States or templates, in the order to draw.
        adds: Points of image AUROC lost without it; None where it can't be left out.
        dark: Whether the page is dark.
    """
    colours = diverging(dark)
    shown = [phrase if len(phrase) <= LONGEST else f"{phrase[: LONGEST - 1]}…" for phrase in phrases]
    # Two phrases may begin alike: a number that is not seen keeps their bars apart.
    places = list(range(len(shown)))
    known = [(place, value) for place, value in zip(places, adds, strict=True) if value is not None]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": "#8a96a3", "width": 1})
    figure.add_bar(
        x=[value for _, value in known],
        y=[place for place, _ in known],
        orientation="h",
        marker={"color": [colours[-1] if value >= 0 else colours[0] for _, value in known], "line": {"width": 0}},
        text=[f"{value:+.2f}" for _, value in known],
        textposition="outside",
        cliponaxis=False,
        customdata=[html.escape(phrases[place]) for place, _ in known],
        hovertemplate="%{customdata}<br>%{x:+.2f} points<extra></extra>",
        showlegend=False,
    )
    reach = max((abs(value) for _, value in known), default=0.0) * 1.35 or 1.0
    figure.update_xaxes(title="Points of image AUROC it adds", range=[-reach, reach])
    figure.update_yaxes(
        tickvals=places, ticktext=[html.escape(text) for text in shown], range=[len(shown) - 0.4, -0.6], showgrid=False
    )
    figure.update_layout(bargap=0.35)
    return calm(figure, 90 + ROW_HEIGHT * max(len(shown), 1))


def shots_figure(frame: pd.DataFrame, label: str) -> go.Figure:
    """Draw a metric over the number of normal references, with the spread between seeds.

    Args:
        frame: method, preset, title (which names a preset that is not the method's own), shots, value, sd (NaN for
            one seed), and n_seeds or a note.
        label: Name of the metric.
    """
    figure = go.Figure()
    if "note" not in frame.columns:
        frame = frame.assign(note=[f"{number} seed(s)" for number in frame["n_seeds"]])
    for (method, _), part in frame.groupby(["method", "preset"], sort=False):
        rows = part[part["value"].notna()].sort_values("shots")
        if rows.empty:
            continue
        style = method_style(str(method))
        name = str(rows["title"].iloc[-1])
        figure.add_scatter(
            x=rows["shots"],
            y=rows["value"],
            error_y={"type": "data", "array": rows["sd"].fillna(0.0), "thickness": 1.2, "width": 4},
            customdata=rows["note"],
            mode="lines+markers",
            name=name,
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.symbol, "size": 10, "color": style.colour},
            hovertemplate="%{x} references: %{y:.1%}, %{customdata}<extra>" + name + "</extra>",
        )
    known = sorted({int(k) for k in frame["shots"]})
    figure.update_xaxes(title="Normal reference images per category", tickvals=known)
    figure.update_yaxes(title=label, tickformat=".1%")
    return calm(figure, 400)


def finding_figure(rows: pd.DataFrame, label: str, kind: str) -> go.Figure | None:
    """Draw what was measured of each variant in one part of the study; None where nothing was.

    Args:
        rows: As ``vlmad_core.analysis.study.findings.findings_table`` gives them, of one part: variant, value, low,
            high, gain, spread (fractions, NaN where missing), x, note.
        label: Name of the metric.
        kind: ``contrast``, ``ladder``, ``spread`` or ``cost``.
    """
    if rows["value"].isna().all():
        return None
    if kind in ("ladder", "spread"):
        return _over_x(rows, label, kind)
    return _cost(rows, label) if kind == "cost" else _contrast(rows, label)


def _contrast(rows: pd.DataFrame, label: str) -> go.Figure:
    figure = go.Figure()
    for row in rows.to_dict("records"):
        base = math.isnan(row["gain"])
        gain = "" if base else f", {100 * row['gain']:+.1f} points against the base"
        blank = math.isnan(row["low"])
        figure.add_scatter(
            x=[row["value"]],
            y=[row["variant"]],
            error_x={"visible": False}
            if blank
            else {
                "type": "data", "symmetric": False, "array": [row["high"] - row["value"]],
                "arrayminus": [row["value"] - row["low"]], "thickness": 1.4, "width": 5,
            },
            mode="markers",
            marker={
                "size": 12, "color": SEEN if row["note"] else BASE if base else ACCENT,
                "symbol": "circle-open" if row["note"] else "circle",
            },
            hovertemplate=f"%{{y}}: %{{x:.1%}}{gain}<br>{row['note']}<extra></extra>",
            showlegend=False,
        )  # fmt: skip
    figure.update_xaxes(title=f"{label}, 95 % over categories", tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True, ticklabelstandoff=8)
    return calm(figure, 90 + STUDY_ROW * len(rows))


def _over_x(rows: pd.DataFrame, label: str, kind: str) -> go.Figure:
    placed = rows[rows["x"].notna()]
    ladder = kind == "ladder"
    figure = go.Figure()
    figure.add_scatter(
        x=placed["x"].tolist(),
        y=placed["value"].tolist(),
        error_y={"type": "data", "array": placed["spread"].fillna(0.0).tolist(), "thickness": 1.4, "width": 5},
        mode="lines+markers" if ladder else "markers",
        line={"color": ACCENT, "width": 2},
        marker={"size": 11, "color": ACCENT},
        hovertemplate="%{x}: %{y:.1%}<extra></extra>",
        showlegend=False,
    )
    for row in rows[rows["x"].isna()].to_dict("records"):
        figure.add_hline(y=row["value"], line={"color": BASE, "dash": "dot"}, annotation_text=row["variant"])
    title = "Normal reference images per category" if ladder else "Prompts per class"
    figure.update_xaxes(title=title, tickvals=placed["x"].tolist(), type="linear" if ladder else "log")
    figure.update_yaxes(title=f"{label}, sd over draws", tickformat=".0%")
    return calm(figure, 260)


def _cost(rows: pd.DataFrame, label: str) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["value"].tolist(),
        text=rows["variant"].tolist(),
        mode="markers",
        marker={"size": 11, "color": ACCENT},
        hovertemplate="%{text}: %{y:.1%} in %{x:.0f} ms<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Milliseconds per image", type="log")
    figure.update_yaxes(title=label, tickformat=".0%")
    return calm(figure, 320)
