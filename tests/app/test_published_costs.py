"""Efficiency and Transfer on published sets: what sources report, with hardware, source and badge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from vlmad_core.analysis.literature import COST_LABELS, load_efficiency
from vlmad_core.analysis.reported import load_reported

OpenApp = Callable[..., AppTest]


def table(app: AppTest, column: str):
    return next(one.value for one in app.dataframe if column in one.value.columns)


def said(app: AppTest) -> str:
    return "\n".join(one.value for one in [*app.markdown, *app.caption])


@pytest.mark.parametrize("dataset", ["mvtec_ad@published", "btad@published", "brain_ad@published"])
def test_reported_costs_stand_with_hardware_source_and_badge(open_app: OpenApp, measured: Path, dataset: str) -> None:
    app = open_app(measured, "efficiency", {"dataset": dataset})
    assert not app.exception
    if not app.dataframe:
        assert "No source reports a cost" in app.info[0].value
        return
    assert ":violet-badge" in said(app)
    shown = table(app, "hardware")
    assert (shown["location"].str.len() > 0).all()
    assert set(shown["hardware"]) >= {"not said"}
    assert not any("Measured on" in one.value for one in app.markdown)
    every = load_efficiency()
    for row in shown.to_dict("records"):
        own = every[(every["source"] == row["source"]) & (every["method"] == row["name"])]
        assert (own["value"] == row["value"]).any()


def test_costs_of_one_source_stand_beside_accuracy_and_second_hand_ones_when_asked_for(
    open_app: OpenApp, measured: Path
) -> None:
    app = open_app(measured, "efficiency", {"dataset": "mvtec_ad@published"})
    assert "need not have used the same backbone" in said(app)
    before = table(app, "hardware")
    assert not before["whose"].str.contains("digest|not said").any()
    next(one for one in app.toggle if one.label == "Second hand too").set_value(True).run()
    assert not app.exception
    after = table(app, "hardware")
    assert len(after) > len(before)
    cost = next(one for one in app.selectbox if one.label == "Cost")
    for name in COST_LABELS:
        if COST_LABELS[name] not in cost.options:
            continue
        cost.set_value(name).run()
        assert not app.exception, name


def test_transfer_holds_each_published_value_by_training_data(open_app: OpenApp, measured: Path) -> None:
    app = open_app(measured, "transfer", {"dataset": "visa@published"})
    assert not app.exception
    method = next(one for one in app.selectbox if one.label == "Method")
    method.set_value("AnomalyCLIP").run()
    assert not app.exception
    shown = table(app, "trained_on")
    reported = load_reported()
    row = shown[(shown["trained_on"] == "MVTec AD") & (shown["dataset"] == "VisA")].iloc[0]
    claims = reported[(reported["method"] == "AnomalyCLIP") & (reported["dataset"] == "visa")]
    claims = claims[(claims["metric"] == "image_auroc") & (claims["training_data"] == "mvtec_ad")]
    assert round(row["value"] / 100, 4) in set(claims["value"].round(4))
    assert "Zhou et al. 2024" in row["reason"]
    assert set(shown["trained_on"]) >= {"MVTec AD", "VisA", "nothing"}
    assert ":violet-badge" in said(app)


def test_a_set_without_trained_methods_says_so(open_app: OpenApp, measured: Path) -> None:
    app = open_app(measured, "transfer", {"dataset": "mtd@published"})
    assert not app.exception
    assert app.info
