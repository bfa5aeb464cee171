"""Reported numbers beside others' runs and own ones; and how one number fared from hand to hand."""

from __future__ import annotations

import pandas as pd

from vlmad_core.analysis.reproduction import HERE, PAPER, PUBLIC, Story
from vlmad_core.figures.colours import method_style
from vlmad_core.figures.layout import calm
from vlmad_core.figures.libraries import go

ROW = 34
"""Height of a method's row, in pixels."""

GREY = "#8a96a3"
WHO = {
    PUBLIC: ("Others' runs, logs and listings", "circle-open", 10, GREY),
    HERE: ("This program", "star", 15, "#D9701A"),
    PAPER: ("The paper", "line-ns-open", 20, "#2E86D6"),
}
"""Name, symbol, size and colour; shapes tell them apart without the colour."""


def reproduction_figure(table: pd.DataFrame, label: str) -> go.Figure:
    """Draw every claim of a metric on its method's row.

    Args:
        table: As ``reproduction_table`` gives it, of one metric and one number of references.
        label: Name of the metric.
    """
    figure = go.Figure()
    methods = method_order(table)
    for who, (name, symbol, size, colour) in WHO.items():
        rows = table[(table["who"] == who) & table["value"].notna()]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["value"],
            y=rows["method"],
            mode="markers",
            name=name,
            customdata=rows[["label", "variant"]].to_numpy(),
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.2, "color": colour}},
            hovertemplate="%{y}: %{x:.1%}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=methods[::-1], showgrid=True)
    figure.update_xaxes(title=label, tickformat=".0%")
    return calm(figure, 110 + ROW * max(2, len(methods)))


def method_order(table: pd.DataFrame) -> list[str]:
    """Methods by the paper's number, best first; those without one follow by their best other number."""
    best = table.assign(paper=table["who"] == PAPER).dropna(subset="value")
    best = best.sort_values(["paper", "value"], ascending=False).drop_duplicates("method")
    return [str(name) for name in best["method"]]


def story_figure(story: Story, label: str) -> go.Figure:
    """Draw the numbers of a story one below the other, against the paper's.

    Args:
        story: As ``vlmad_core.analysis.reproduction.story`` gives it.
        label: Name of the metric.
    """
    steps = story.steps
    names = [step.implementation.title for step in steps]
    values = [step.value for step in steps]
    figure = go.Figure()
    for step, name in zip(steps[1:], names[1:], strict=True):
        figure.add_scatter(
            x=[step.value, values[0]], y=[name, name], mode="lines", line={"color": GREY, "width": 2},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    figure.add_vline(x=values[0], line={"color": WHO[PAPER][3], "width": 1.5, "dash": "dot"})
    figure.add_scatter(
        x=values,
        y=names,
        mode="markers+text",
        text=[f"{100 * value:.1f}" for value in values],
        textposition=["middle right", *("top center" for _ in values[1:])],
        customdata=[step.label for step in steps],
        marker={"size": 12, "symbol": "diamond", "color": method_style("winclip").colour},
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.3])
    figure.update_xaxes(title=label, tickformat=".0%", range=[min(values) - 0.05, max(values) + 0.05])
    return calm(figure, 90 + 46 * len(steps))
