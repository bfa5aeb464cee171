"""Figures are made once for all who see the same, and anew for who sees something else; pictures each time."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import streamlit as st

from pages._ui import drawing


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    st.cache_data.clear()
    yield
    st.cache_data.clear()


def test_the_same_values_are_drawn_once() -> None:
    made = []

    def figure(rows: pd.DataFrame, label: str, *, dark: bool) -> go.Figure:
        made.append((len(rows), label, dark))
        return go.Figure()

    for _ in range(3):  # each time with a frame of its own, as each session has
        drawing.plotly(figure, pd.DataFrame({"value": [0.5, 0.25]}), "AUROC", dark=False, alt="A figure")
    drawing.plotly(figure, pd.DataFrame({"value": [0.5, 0.75]}), "AUROC", dark=False, alt="A figure")
    drawing.plotly(figure, pd.DataFrame({"value": [0.5, 0.25]}), "AUROC", dark=True, alt="A figure")
    assert made == [(2, "AUROC", False), (2, "AUROC", False), (2, "AUROC", True)]


def test_two_figures_of_the_same_values_are_told_apart() -> None:
    made = []

    def first(rows: pd.DataFrame) -> go.Figure:
        made.append("first")
        return go.Figure()

    def second(rows: pd.DataFrame) -> None:
        made.append("second")

    for make in (first, second, first, second):
        drawing.plotly(make, pd.DataFrame({"value": [1.0]}), alt="A figure")
    assert made == ["first", "second"]


def test_no_picture_is_shown_from_what_was_kept() -> None:
    """Two that had been shown first at the same place of a page pushed one another out: the browser got 404."""
    assert not hasattr(drawing.picture, "clear")


def test_streamlit_does_not_collect_garbage_after_each_run() -> None:
    settings = ConfigParser()
    settings.read(Path(__file__).parents[2] / ".streamlit" / "config.toml", encoding="utf-8")
    assert settings["runner"]["postScriptGC"] == "false", "it takes longer than the page and holds all others meanwhile"
