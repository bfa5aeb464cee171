"""Every page on a full, an empty and a damaged store, and with links that ask for what is not there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "transfer", "failures",
    "live_demo", "methods", "reproduction", "runs",
)  # fmt: skip
SCRIPTS = sorted((Path(__file__).parents[2] / "pages").glob("[a-z]*.py"))
WITHOUT_RESULTS = ("live_demo", "methods", "reproduction")
"""Pages that have something to show without results."""


def texts(app) -> str:
    """All texts of a page in one."""
    kinds = (
        app.title,
        app.subheader,
        app.markdown,
        app.caption,
        app.warning,
        app.info,
        app.error,
        app.success,
        app.code,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_shows_backbone_and_data_set(open_app, measured: Path, page: str) -> None:
    app = open_app(measured, page)
    assert not app.exception
    shown = texts(app)
    assert "Made-up CLIP" in shown
    assert "demonstration" in shown
    assert "decide nothing about real parts" in shown
    assert "gadgets" in shown


TAKEN = ("leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "failures", "study", "runs")
"""Pages whose tables are taken along, with results of any kind."""


@pytest.mark.parametrize("page", [*TAKEN, "overview", "reproduction"])
def test_tables_are_taken_along_at_the_top(open_app, measured: Path, page: str) -> None:
    app = open_app(measured, page, {"dataset": "widgets", "category": "bolt"} if page == "failures" else None)
    assert not app.exception
    (head,) = (one for one in app.get("popover") if one.proto.popover.label == "Take it along")
    buttons = {one.proto.label for one in app.get("download_button")}
    assert {"csv", "zip" if page == "failures" else "LaTeX"} <= buttons
    inside = [child for child in _all(head) if child.type == "download_button"]
    assert len(inside) == len(app.get("download_button"))  # none is left at the end of a page


def _all(block):
    """What a block holds, at any depth."""
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _all(child)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_says_how_to_get_results_when_there_are_none(open_app, empty: Path, page: str) -> None:
    app = open_app(empty, page)
    assert not app.exception
    if page not in WITHOUT_RESULTS:
        assert any("python -m vlmad_core precompute" in code.value for code in app.code)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_shows_what_is_whole_in_a_damaged_store(open_app, damaged: Path, page: str) -> None:
    app = open_app(damaged, page)
    assert not app.exception
    assert "Made-up CLIP" in texts(app)


def test_a_missing_folder_is_an_empty_store(open_app, tmp_path: Path) -> None:
    app = open_app(tmp_path / "nowhere", "leaderboard")
    assert not app.exception
    assert "Nothing has been measured yet" in str(app.info[0].proto)


def test_runs_names_every_damage(open_app, damaged: Path) -> None:
    app = open_app(damaged, "runs")
    left_out = next(frame.value for frame in app.dataframe if "message" in frame.value.columns)
    kinds = " ".join(left_out["kind"])
    for expected in ("damaged run", "damaged unit", "newer version", "not a result"):
        assert expected in kinds


HOSTILE = {
    "dataset": "../../etc",
    "category": "bolt'; drop",
    "method": "<script>alert(1)</script>",
    "metric": "x" * 5000,
    "shots": "-1",
    "image": "../../../etc/passwd",
    "threshold": "nan",
    "conditions": "%00",
}


@pytest.mark.parametrize("page", PAGES)
def test_hostile_links_fall_back_on_every_page(open_app, measured: Path, page: str) -> None:
    app = open_app(measured, page, HOSTILE)
    assert not app.exception
    shown = texts(app)
    assert "<script>" not in shown
    assert "x" * 100 not in shown


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("leaderboard", "category"), ("leaderboard", "metric"), ("leaderboard", "shots"), ("leaderboard", "dataset"),
        ("categories", "metric"), ("failures", "category"), ("failures", "method"), ("failures", "image"),
        ("failures", "threshold"), ("accuracy", "method"), ("segmentation", "category"),
    ],
)  # fmt: skip
def test_an_unknown_value_is_said_and_taken_out_of_the_address(open_app, measured: Path, page: str, name: str) -> None:
    app = open_app(measured, page, {name: HOSTILE[name]})
    assert any(f"asks for {name}" in warning.value for warning in app.warning)
    assert app.query_params.get(name) != HOSTILE[name]


def test_a_link_opens_what_it_says(open_app, measured: Path) -> None:
    link = {"dataset": "widgets", "category": "hex_nut", "method": "winclip", "shots": "2", "threshold": "0.45"}
    app = open_app(measured, "failures", link)
    assert not app.warning
    assert app.selectbox(key="choose_dataset").value == "widgets"
    assert app.selectbox(key="choose_category").value == "hex_nut"
    assert app.selectbox(key="choose_method").value == "winclip"
    assert app.slider(key="threshold_value").value == pytest.approx(0.45)
    assert "WinCLIP+ on hex nut at 0.45 (set by hand)" in texts(app)
    scores = app.table[0].value
    assert scores.loc["**WinCLIP+**", "Threshold"] == "0.45"
    assert "set by hand" in scores.loc["**WinCLIP+**", "From"]


def test_the_canonical_preset_may_be_named(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {"method": "winclip:canonical"})
    assert app.selectbox(key="choose_method").value == "winclip"
    assert not app.warning


def test_leaderboard_ranks_classification_and_segmentation_separately(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard", {"shots": "0"})
    image, pixel = (frame.value for frame in app.dataframe[:2])
    assert image["rank"].tolist()[:2] == [1, 2]
    assert "image_auroc" in image.columns
    assert "image_auroc" not in pixel.columns
    assert image["image_auroc"].dropna().between(0, 100).all()
    # clip_cpe has not finished a category, clip_ac has no maps: blank, with the reason below the table
    assert image.set_index("name")["image_auroc"].isna().to_dict()["clip_cpe"]
    assert "hex_nut is not finished" in texts(app)
    assert "makes no anomaly map" in texts(app)


def test_choosing_a_metric_reranks_and_is_kept_in_the_address(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard")
    app.selectbox(key="choose_metricimage").select("image_ap").run()
    assert app.query_params["metric"] == "image_ap"
    assert app.selectbox(key="choose_metricpixel").value == "aupro_30"
    app.switch_page("pages/categories.py").run()
    assert app.selectbox(key="choose_metric").value == "image_ap"


def test_another_data_set_lets_go_of_what_belonged_to_the_first(open_app, measured: Path) -> None:
    opens_on = open_app(measured, "failures", {"dataset": "widgets"}).selectbox(key="choose_category").value
    other = next(name for name in ("bolt", "felt") if name != opens_on)
    app = open_app(measured, "failures", {"dataset": "gadgets", "category": other, "threshold": "0.3"})
    app.selectbox(key="choose_dataset").select("widgets").run()
    assert app.selectbox(key="choose_category").value == opens_on
    assert "threshold" not in app.query_params
    assert not app.warning


def test_categories_as_a_table_with_differences(open_app, measured: Path) -> None:
    app = open_app(measured, "categories", {"shots": "0"})
    app.segmented_control(key="choose_view").set_value("Table").run()
    table = app.dataframe[0].value
    assert table["category"].tolist() == ["bolt", "felt", "hex_nut"]
    app.selectbox(key="choose_versus").select("clip_ac").run()
    assert app.dataframe[0].value["clip_ac"].tolist() == [0, 0, 0]


def test_failures_walk_through_the_list(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {"category": "bolt", "method": "winclip", "threshold": "0.9", "shots": "0"})
    assert "misses **6 of 6** defective" in texts(app)
    assert app.button(key="step--1").disabled
    app.button(key="step-1").click().run()
    second = app.query_params["image"]
    assert "2 of 6" in texts(app)
    app.button(key="step-1").click().run()
    assert app.query_params["image"] != second
    app.button(key="step--1").click().run()
    assert app.query_params["image"] == second


def test_moving_the_threshold_turns_misses_into_found(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {"category": "bolt", "method": "winclip", "threshold": "0.9", "shots": "0"})
    slider = app.slider(key="threshold_value")
    slider.set_value(slider.min).run()
    assert "misses **0 of 6** defective" in texts(app)
    assert "flags **6 of 6** normal" in texts(app)
    app.selectbox(key="threshold_name").select("image_f1max").run()
    assert app.query_params["threshold"] == "image_f1max"
    assert "on the test labels" in texts(app)


def test_every_verdict_can_be_listed(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {"category": "bolt", "method": "winclip", "shots": "0"})
    for kind in ("missed", "false_alarm", "found", "passed"):
        app.segmented_control(key="list").set_value(kind).run()
        assert not app.exception
        assert app.segmented_control(key="list").value == kind
        assert app.query_params.get("list", "missed") == kind


def test_a_method_without_results_says_which_command_makes_them(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {"category": "hex_nut", "method": "clip_cpe", "shots": "0"})
    assert any("--method clip_cpe" in code.value for code in app.code)


def test_blank_segmentation_has_its_reason(open_app, measured: Path) -> None:
    assert "no masks" in texts(open_app(measured, "segmentation", {"category": "felt", "shots": "2"}))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_text_stands_alone_in_a_page(script: Path) -> None:
    """Streamlit shows a value that stands alone on a line of a page: a comment of a constant would be read by all."""
    alone = [node for node in ast.parse(script.read_text(encoding="utf-8")).body if isinstance(node, ast.Expr)]
    assert not [ast.unparse(node) for node in alone if not isinstance(node.value, ast.Call)]
