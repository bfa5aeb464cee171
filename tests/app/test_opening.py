"""Views open on something to see, by the written rules; a link that says otherwise wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import cells
from vlmad_core.analysis.instructive import opening
from vlmad_core.store.reader import open_store

BUNDLED = Path(__file__).parents[2] / "results"


def expected(metric: str, shots: int = 0):
    store = open_store(BUNDLED / "bundled")
    one = next(one for one in comparisons(store) if one.dataset == "bundled_a")
    lines = one.entries(shots)
    return opening(lines, cells(store, lines, metric), metric, one.categories)


def test_failures_open_with_the_best_methods_worst_category_at_five_percent(open_app) -> None:
    app = open_app(BUNDLED, "failures", {"dataset": "bundled_a"})
    start = expected("image_auroc")
    assert app.selectbox(key="choose_category").value == start.category
    assert app.selectbox(key="choose_method").value == start.entry.id
    assert app.selectbox(key="threshold_name").value == "normal_05"
    assert app.segmented_control(key="list").value == "missed"
    assert start.rule in app.selectbox(key="choose_category").help
    assert "5%" in app.selectbox(key="threshold_name").help
    below = [one.caption for image in app.get("image") for one in image.proto.imgs]
    assert not [text for text in below if "trained on bundled_a" in text]


@pytest.mark.parametrize("page", ["failures", "accuracy", "segmentation"])
def test_a_link_wins_over_the_rule(open_app, page: str) -> None:
    start = expected("aupro_30" if page == "segmentation" else "image_auroc", 4)
    other = "wood" if start.category != "wood" else "hex_nut"
    link = {"dataset": "bundled_a", "shots": "4", "category": other, "method": "april_gan", "threshold": "image_f1max"}
    app = open_app(BUNDLED, page, link)
    assert not app.exception
    assert not app.warning
    assert app.selectbox(key="choose_category").value == other
    assert app.selectbox(key="choose_method").value == "april_gan"
    if page != "segmentation":
        assert app.selectbox(key="threshold_name").value == "image_f1max"


@pytest.mark.parametrize(("page", "metric"), [("accuracy", "image_auroc"), ("segmentation", "aupro_30")])
def test_curves_are_those_of_the_best_three_that_have_not_seen_the_data(open_app, page: str, metric: str) -> None:
    app = open_app(BUNDLED, page, {"dataset": "bundled_a"})
    assert not app.exception
    start = expected(metric)
    pills = next(pills for pills in app.get("button_group") if pills.key == "choose_shown")
    assert pills.value == [entry.id for entry in start.shown]
    assert len(pills.value) == 3
    assert not [name for name in pills.value if "bundled_a" in name]
    assert sum("warning" in str(option) for option in pills.proto.options) == 2  # trained on the data, and marked
    assert app.selectbox(key="choose_category").value == start.category


def test_methods_drawn_are_in_the_address_and_may_be_those_that_have_seen_the_data(open_app) -> None:
    app = open_app(BUNDLED, "segmentation", {"dataset": "bundled_a", "shown": "april_gan@bundled_a"})
    assert not app.warning
    pills = next(pills for pills in app.get("button_group") if pills.key == "choose_shown")
    assert pills.value == ["april_gan@bundled_a"]
    pills.set_value(["winclip", "musc"]).run()
    assert app.query_params["shown"] == ["winclip", "musc"]
    wrong = open_app(BUNDLED, "accuracy", {"dataset": "bundled_a", "shown": "<b>x"})
    assert any("asks for shown" in warning.value for warning in wrong.warning)
    assert "shown" not in wrong.query_params
