"""The study's findings as figures: variants with their intervals, ladders of references, wording, and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlmad_core.analysis.study.findings import Entry, Finding
from vlmad_core.figures.layout import calm
from vlmad_core.figures.libraries import go
from vlmad_core.metrics.spec import METRICS

ACCENT, BASE, SEEN = "#2F7F86", "#8592A0", "#C2385C"
"""Colours of a variant, of what it is held against, and of what was trained on the data it is judged on."""

ROW = 34
SHORT, TALL = 260, 320


def finding_figure(finding: Finding) -> go.Figure | None:
    """Draw a finding; None where it has no figures.

    Args:
        finding: The finding.
    """
    if not any(not math.isnan(entry.estimate.value) for entry in finding.entries):
        return None
    label = METRICS[finding.metric].label
    if finding.kind in ("ladder", "spread"):
        return _over_x(finding.entries, label, finding.kind)
    return _cost(finding.entries, label) if finding.kind == "cost" else _contrast(finding.entries, label)


def _contrast(entries: Sequence[Entry], label: str) -> go.Figure:
    figure = go.Figure()
    for entry in entries:
        colour = SEEN if entry.note else BASE if entry.gain is None else ACCENT
        gain = "" if entry.gain is None else f", {100 * entry.gain.value:+.1f} points against the base"
        figure.add_scatter(
            x=[entry.estimate.value],
            y=[entry.label],
            error_x=_interval(entry),
            mode="markers",
            marker={"size": 12, "color": colour, "symbol": "circle-open" if entry.note else "circle"},
            hovertemplate=f"%{{y}}: %{{x:.1%}}{gain}<br>{entry.note}<extra></extra>",
            showlegend=False,
        )
    figure.update_xaxes(title=f"{label}, 95 % over categories", tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True, ticklabelstandoff=8)
    return calm(figure, 90 + ROW * len(entries))


def _over_x(entries: Sequence[Entry], label: str, kind: str) -> go.Figure:
    placed = [entry for entry in entries if not math.isnan(entry.x)]
    figure = go.Figure()
    figure.add_scatter(
        x=[entry.x for entry in placed],
        y=[entry.estimate.value for entry in placed],
        error_y={
            "type": "data",
            "array": [0.0 if math.isnan(entry.spread) else entry.spread for entry in placed],
            "thickness": 1.4,
            "width": 5,
        },
        mode="lines+markers" if kind == "ladder" else "markers",
        line={"color": ACCENT, "width": 2},
        marker={"size": 11, "color": ACCENT},
        hovertemplate="%{x}: %{y:.1%}<extra></extra>",
        showlegend=False,
    )
    for entry in entries:
        if math.isnan(entry.x):
            figure.add_hline(y=entry.estimate.value, line={"color": BASE, "dash": "dot"}, annotation_text=entry.label)
    ladder = kind == "ladder"
    title = "Normal reference images per category" if ladder else "Prompts per class"
    figure.update_xaxes(title=title, tickvals=[entry.x for entry in placed], type="linear" if ladder else "log")
    figure.update_yaxes(title=f"{label}, sd over draws", tickformat=".0%")
    return calm(figure, SHORT)


def _cost(entries: Sequence[Entry], label: str) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=[entry.x for entry in entries],
        y=[entry.estimate.value for entry in entries],
        text=[entry.label for entry in entries],
        mode="markers",
        marker={"size": 11, "color": ACCENT},
        hovertemplate="%{text}: %{y:.1%} in %{x:.0f} ms<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Milliseconds per image", type="log")
    figure.update_yaxes(title=label, tickformat=".0%")
    return calm(figure, TALL)


def _interval(entry: Entry) -> dict[str, object]:
    estimate = entry.estimate
    if math.isnan(estimate.low):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [estimate.high - estimate.value],
        "arrayminus": [estimate.value - estimate.low],
        "thickness": 1.4,
        "width": 5,
    }
