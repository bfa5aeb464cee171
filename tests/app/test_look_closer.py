"""Failures, categories, accuracy and segmentation: filters, notes, agreement, what can be taken along."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vlmad_core.store.annotations import Annotation, read_annotations, save_annotation

BOLT = {"dataset": "widgets", "category": "bolt", "method": "winclip", "shots": "0"}
IMAGE = "bolt/test/scratch/000.png"


def texts(app) -> str:
    kinds = (app.subheader, app.markdown, app.caption, app.warning, app.info, app.error, app.success, app.text)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.fixture
def own(measured: Path, tmp_path: Path) -> Path:
    """A copy of the store that a test may write into."""
    # Without the notes that tests in the browser leave in the store they share.
    return Path(shutil.copytree(measured, tmp_path / "store", ignore=shutil.ignore_patterns("annotations")))


def test_all_categories_are_listed_together_each_at_its_own_threshold(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {**BOLT, "category": "all", "threshold": "normal_05"})
    assert not app.exception
    assert "on 3 categories at “5% false alarms”" in texts(app)
    assert "of 18** defective" in texts(app)
    assert not [slider for slider in app.slider if slider.key == "threshold_value"]
    app.selectbox(key="choose_category").select("felt").run()
    assert "of 6** defective" in texts(app)
    assert app.slider(key="threshold_value")


def test_filters_are_in_the_address_and_narrow_the_list(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", {**BOLT, "threshold": "0.99"})
    assert "1 of 6" in texts(app)
    app.pills(key="filter_type").set_value(["stain"]).run()
    assert app.query_params["type"] == "stain"
    assert "1 of 3" in texts(app)
    app.pills(key="filter_area").set_value(["2–10%"]).run()
    assert "1 of 3" in texts(app)
    app.selectbox(key="filter_shared").select("only").run()
    assert not app.exception
    assert app.query_params["shared"] == "only"
    next(button for button in app.button if button.label == "Clear filters").click().run()
    assert "1 of 6" in texts(app)
    assert "type" not in app.query_params


def test_a_link_with_filters_opens_what_it_says(open_app, measured: Path) -> None:
    link = {**BOLT, "threshold": "0.99", "type": "scratch", "shared": "clip_ac"}
    app = open_app(measured, "failures", link)
    assert not app.warning
    assert app.pills(key="filter_type").value == ["scratch"]
    assert app.selectbox(key="filter_shared").value == "clip_ac"


@pytest.mark.parametrize("name", ["type", "area", "tag", "shared", "list"])
def test_an_unknown_filter_is_said_and_dropped(open_app, measured: Path, name: str) -> None:
    app = open_app(measured, "failures", {**BOLT, name: "<b>../../x</b>"})
    assert not app.exception
    assert any(f"asks for {name}" in warning.value for warning in app.warning)
    assert "<b>" not in texts(app)
    assert app.query_params.get(name) != "<b>../../x</b>"


def test_a_note_is_kept_and_found_by_its_tag(open_app, own: Path) -> None:
    app = open_app(own, "failures", {**BOLT, "threshold": "0.99", "image": IMAGE})
    app.text_area[0].set_value("# not a <b>headline</b>")
    app.multiselect[0].set_value(["hard to see"])
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    (kept,) = read_annotations(own).items
    assert (kept.image_id, kept.method, kept.note) == (IMAGE, "winclip", "# not a <b>headline</b>")
    assert (kept.verdict, kept.threshold, kept.tags) == ("missed", 0.99, ("hard to see",))
    app.pills(key="filter_tag").set_value(["hard to see"]).run()
    assert "1 of 1" in texts(app)
    app.selectbox(key="choose_method").select("clip_ac").run()
    assert "Noted on WinCLIP" in "\n".join(element.value for element in app.markdown)
    assert "# not a <b>headline</b>" in [element.value for element in app.text]  # as text, not as markup


def test_who_writes_second_is_told(open_app, own: Path) -> None:
    app = open_app(own, "failures", {**BOLT, "threshold": "0.99", "image": IMAGE})
    save_annotation(own, Annotation("widgets", "bolt", IMAGE, "winclip", note="first"))
    app.text_area[0].set_value("second")
    next(button for button in app.button if button.label == "Save").click().run()
    assert "Somebody else has changed the note" in texts(app)
    assert read_annotations(own).items[0].note == "first"


def test_a_store_that_cannot_be_written_is_said_where_it_matters(open_app, own: Path) -> None:
    (own / "annotations").write_text("in the way")
    app = open_app(own, "failures", {**BOLT, "threshold": "0.99", "image": IMAGE})
    app.text_area[0].set_value("lost?")
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    assert "Nothing was saved" in texts(app)
    assert app.text_area[0].value == "lost?"


def test_a_damaged_note_is_named_and_the_others_stay(open_app, own: Path) -> None:
    save_annotation(own, Annotation("widgets", "bolt", IMAGE, "winclip", note="whole"))
    (own / "annotations" / "failures" / "widgets" / "0123456789abcdef.json").write_text("{ half")
    app = open_app(own, "failures", {**BOLT, "threshold": "0.99", "image": IMAGE})
    assert not app.exception
    assert app.text_area[0].value == "whole"
    assert "0123456789abcdef.json can't be read" in texts(app)


def test_agreement_counts_all_images_and_the_grid_of_pairs_is_there(open_app, measured: Path) -> None:
    app = open_app(measured, "failures", BOLT)
    app.session_state["below"] = "Agreement between methods"
    app.run()
    assert not app.exception
    assert "Of 12 images" in texts(app)
    assert len(app.get("vega_lite_chart")) == 1


def test_accuracy_says_that_scores_are_no_probabilities(open_app, measured: Path) -> None:
    app = open_app(measured, "accuracy", BOLT)
    app.session_state["calibration"] = True
    app.run()
    assert not app.exception
    assert "These scores are not probabilities" in texts(app)
    assert "50% of the images" in texts(app)
    table = next(table.value for table in app.table if "ECE" in table.value.columns)
    assert set(table.index) == {"CLIP-AC", "clip_cpe", "WinCLIP"}


def test_grid_or_table_and_difference_are_in_the_address(open_app, measured: Path) -> None:
    link = {"dataset": "widgets", "shots": "0", "view": "table", "versus": "winclip", "metric": "image_ap"}
    app = open_app(measured, "categories", link)
    assert not app.warning
    assert app.dataframe[0].value["winclip"].tolist() == [0, 0, 0]
    app.selectbox(key="choose_versus").select("none").run()
    assert (app.dataframe[0].value["winclip"] > 0).all()


def test_maps_by_defect_type(open_app, measured: Path) -> None:
    app = open_app(measured, "segmentation", {**BOLT, "defect": "stain"})
    assert not app.exception
    pictures = [image for image in app.get("image") if any("stain" in one.caption for one in image.proto.imgs)]
    assert len(pictures) == 3
