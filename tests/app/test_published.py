"""Published sets on the pages: chosen in the head, shown with their sources, and never mixed unasked."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.claims import KINDS, kind_of
from vlmad_core.paths import reported_folder

MVTEC = {"dataset": "mvtec_ad@published"}
RUNS_ONLY = ("accuracy", "segmentation", "failures", "study")


def texts(app) -> str:
    """All texts of a page in one."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.warning, app.info, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.fixture(scope="session")
def twin(quick_disk: None, made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up store of a part of MVTec AD."""
    return made_up_store(
        tmp_path_factory.mktemp("twin"), datasets=("widgets", "mvtec_ad"), categories=("bottle", "screw")
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The csv, with the hand of each row; ablations and groups left out."""
    frame = pd.read_csv(reported_folder() / "results.csv", keep_default_na=False)
    hands = [KINDS.index(kind_of(o, r)) for o, r in zip(frame["origin"], frame["read"], strict=True)]
    return frame.assign(hand=hands)[(frame["kind"] == "main") & ~frame["category"].str.startswith("group:")]


def test_the_selector_lists_published_sets_beside_measured_ones(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard")
    options = app.selectbox(key="choose_dataset").options
    assert options[:2] == ["gadgets", "widgets"]
    assert options[2:4] == ["MVTec AD (published)", "VisA (published)"]
    app.selectbox(key="choose_dataset").select("visa@published").run()
    assert app.query_params["dataset"] == "visa@published"
    assert "not measured here" in texts(app)
    assert not app.warning


@pytest.mark.parametrize("page", ["overview", "leaderboard", "categories", "shots"])
@pytest.mark.parametrize("dataset", ["mvtec_ad@published", "visa@published"])
def test_pages_show_published_sets_with_and_without_measured_results(
    open_app, measured: Path, empty: Path, page: str, dataset: str
) -> None:
    for store in (measured, empty):
        app = open_app(store, page, {"dataset": dataset})
        assert not app.exception
        assert not app.warning
        assert ":violet-badge[:material/menu_book: reported]" in texts(app)


@pytest.mark.parametrize("page", RUNS_ONLY)
def test_pages_that_need_runs_say_so_and_lead_on(open_app, measured: Path, page: str) -> None:
    app = open_app(measured, page, MVTEC)
    assert "Published numbers come without" in texts(app)
    assert {"to-leaderboard", "to-categories", "to-shots"} <= {button.key for button in app.button}
    app.button(key="measured-gadgets").click().run()
    assert app.query_params["dataset"] == "gadgets"
    assert "Published numbers come without" not in texts(app)


def test_measured_and_reported_rows_share_a_table_only_side_by_side(open_app, twin: Path) -> None:
    app = open_app(twin, "leaderboard", MVTEC)
    assert {kind for frame in app.dataframe for kind in frame.value["evidence"]} == {"reported"}
    app.toggle(key="side_by_side").set_value(True).run()
    image = app.dataframe[0].value
    assert image["name"].is_unique
    assert image["evidence"].value_counts()["measured"] == 4  # widgets has categories of MVTec AD too
    assert image["image_auroc"].dropna().is_monotonic_decreasing
    assert (image.loc[image["evidence"] == "measured", "kind"] == "measured here, 2 of 15 categories").all()
    own = open_app(twin, "leaderboard", {"dataset": "mvtec_ad"})
    assert not any("reruns" in frame.value.columns for frame in own.dataframe)
    own.button(key="see-published").click().run()
    assert own.query_params["dataset"] == "mvtec_ad@published"


def test_without_a_measured_twin_there_is_nothing_to_put_side_by_side(open_app, empty: Path) -> None:
    app = open_app(empty, "leaderboard", MVTEC)
    assert not app.toggle
    assert len(app.dataframe[0].value) > 10


def test_filters_leave_rows_out(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard", MVTEC)
    every = app.dataframe[0].value
    app.button_group(key="claims_kinds").set_value(["rerun"]).run()
    few = app.dataframe[0].value
    assert set(few["kind"]) - {"", "a digest of the paper"} == {"a re-run by others"}
    assert 0 < len(few) < len(every)
    app.button_group(key="claims_kinds").set_value(["authors", "quoted"]).run()
    app.multiselect(key="claims_trained-mvtec_ad").set_value(["visa"]).run()
    assert set(app.dataframe[0].value["trained_on"]) == {"visa"}


def test_forty_cells_on_the_pages_agree_with_the_csv(open_app, empty: Path, table: pd.DataFrame) -> None:
    draw = random.Random(40)
    shown: list[tuple[str, int, str, str, str, float]] = []
    for dataset in ("mvtec_ad", "visa"):
        link = {"dataset": f"{dataset}@published"}
        app = open_app(empty, "leaderboard", {**link, "shots": "all"})
        for frame in app.dataframe:
            for row in frame.value.to_dict("records"):
                title = str(row["name"]).removesuffix(f", {row['shots']} ref.")
                shown += [
                    (dataset, row["shots"], metric, "mean", title, row[metric])
                    for metric in row
                    if metric in set(table["metric"]) and row[metric] == row[metric]
                ]
    means = draw.sample(shown, 20)
    shown = []
    for dataset, metric, shots in (
        ("mvtec_ad", "image_auroc", 0), ("mvtec_ad", "pixel_auroc", 0), ("visa", "image_ap", 0),
        ("visa", "pixel_f1max", 0),
    ):  # fmt: skip
        link = {"dataset": f"{dataset}@published", "metric": metric, "shots": str(shots), "view": "table"}
        app = open_app(empty, "categories", link)
        wide = app.dataframe[0].value.set_index("category")
        lines = app.multiselect(key=f"published_lines-{dataset}-{metric}-{shots}")
        titles = dict(zip(wide.columns, lines.options, strict=False))  # the first ones are shown
        for column in wide.columns:
            shown += [
                (dataset, shots, metric, str(category), titles[column], value)
                for category, value in wide[column].dropna().items()
            ]
    cells = draw.sample(shown, 20)
    for dataset, shots, metric, category, title, value in means + cells:
        named = pd.Series([title.startswith(method) for method in table["method"]], index=table.index)
        rows = table[
            (table["dataset"] == dataset) & (table["shots"] == shots) & (table["metric"] == metric)
            & (table["category"] == category) & named
        ]  # fmt: skip
        if rows.empty and category == "mean":  # stated nowhere: the mean of one source's categories
            continue
        stands = rows.loc[rows["value"].astype(float).sub(value / 100).abs() < 1e-9, "hand"]
        assert len(stands), (dataset, shots, metric, category, title, value)
        if title in set(rows["method"]):
            own = rows[rows["method"] == title]
            best = own.groupby("training_data")["hand"].min()
            assert stands.min() in set(best), (dataset, shots, metric, category, title, value)


def test_a_metric_that_only_papers_report_is_let_go_of_with_the_set(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard", {**MVTEC, "metric": "aupro_reported"})
    assert app.selectbox(key="choose_metricreported-pixel").value == "aupro_reported"
    app.selectbox(key="choose_dataset").select("gadgets").run()
    assert not app.warning
    assert app.selectbox(key="choose_metricpixel").value == "aupro_30"
    assert "metric" not in app.query_params


def test_the_overview_counts_what_is_held(open_app, measured: Path) -> None:
    app = open_app(measured, "overview")
    (said,) = (text.value for text in app.markdown if text.value.startswith("VLM-AD compares"))
    assert re.search(r"\*\*[\d,]{5,} published values\*\* of \d+ methods on \d+ benchmarks", said)
    assert re.search(r"\*\*14 runs measured by this program\*\* of 3 methods on 2 data sets", said)
    app.button(key="categories-mvtec_ad").click().run()
    assert app.query_params["dataset"] == "mvtec_ad@published"
    assert app.title[0].value == "Categories"
    assert {"winclip/0", "april_gan/0"} <= set(app.multiselect[-1].value)


def test_an_unreadable_table_costs_the_published_sets_only(open_app, measured: Path, monkeypatch, tmp_path) -> None:
    import streamlit as st

    monkeypatch.setattr("vlmad_core.analysis.reported.reported_folder", lambda: tmp_path)
    st.cache_resource.clear()
    try:
        app = open_app(measured, "leaderboard")
        assert not app.exception
        assert "Published numbers can't be read" in texts(app)
        assert app.selectbox(key="choose_dataset").options == ["gadgets", "widgets", "Your own images…"]
    finally:
        st.cache_resource.clear()


@pytest.mark.parametrize("page", ["live_demo", "prompt_lab", "methods", "runs", "reproduction"])
def test_pages_with_other_choosers_are_not_disturbed(open_app, measured: Path, page: str) -> None:
    app = open_app(measured, "leaderboard")
    app.selectbox(key="choose_dataset").select("visa@published").run()
    app.query_params.clear()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert not app.warning
