"""The prompt lab: from features to numbers, edits, bad input, saving, suggestions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pages._lab import asking
from pages._ui import machine
from vlmad_core.prompts import load_ensemble, saved_names


@pytest.fixture(scope="session")
def parts(tiny_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny data set."""
    folder = tmp_path_factory.mktemp("lab_data")
    tiny_dataset(folder / "parts")
    return folder


@pytest.fixture(scope="session")
def lab_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab_cache")


@pytest.fixture
def open_lab(open_app, parts: Path, empty: Path, tiny_clip: Path, lab_cache: Path, tmp_path: Path, monkeypatch):
    """A function that opens the lab on the tiny data set, by itself or after its features were extracted."""
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    monkeypatch.setenv("VLMAD_CACHE_DIR", str(lab_cache))
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path / "prompts"))

    def open_page(**parameters: str):
        app = open_app(empty, "prompt_lab", {"dataset": "parts", "ensemble": "states", **parameters}, data_dir=parts)
        assert not app.exception
        buttons = [button for button in app.button if button.key == "lab_extract"]
        if buttons:
            buttons[0].click().run()
        assert not app.exception
        return app

    return open_page


def shown(app) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.info, app.error, app.success, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def numbers(app) -> list[str]:
    return [metric.value for metric in app.metric]


def test_features_are_offered_then_kept(open_app, open_lab, empty, parts) -> None:
    app = open_lab()
    assert len(numbers(app)) == 3
    assert "30 images in 3 categories scored" in shown(app)
    machine.inference.clear()
    again = open_lab()
    assert numbers(again) == numbers(app)
    assert "Features first" not in shown(again)


def test_missing_features_come_with_a_command(open_app, empty, parts, tiny_clip, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    monkeypatch.setenv("VLMAD_CACHE_DIR", str(tmp_path / "nothing"))
    machine.inference.clear()
    asking.stored_images.clear()
    app = open_app(empty, "prompt_lab", {"dataset": "parts"}, data_dir=parts)
    assert "0 of 30 test images of parts" in shown(app)
    assert "precompute --cache --dataset parts --method clip_cpe" in shown(app)
    assert not numbers(app)


def test_an_edit_changes_the_numbers_and_back(open_lab) -> None:
    app = open_lab(against="states")
    before = numbers(app)
    assert "is the same as with States" in shown(app)
    words = app.text_area(key="lab_abnormal_states").value
    app.text_area(key="lab_abnormal_states").set_value("zzz {}\nqqqqqq {}").run()
    assert not app.exception
    assert numbers(app) != before
    assert "(7 normal + 2 abnormal) x 1 templates = **9 prompts**" in shown(app)
    assert "were chosen (by hand) on all categories" in shown(app)
    app.text_area(key="lab_abnormal_states").set_value(words).run()
    assert numbers(app) == before
    assert "by hand" not in shown(app)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Nothing here yet"),
        ("\N{GRINNING FACE} {}", "only symbols"),
        ("<script>alert(1)</script> {}", "html"),
        ("{broken} {}", "braces besides"),
        ("x" * 10_000 + " {}", "10,003 characters"),
        ("flawless", "write {} where the category goes"),
    ],
)
def test_bad_words_are_said_at_their_place_and_the_numbers_stay(open_lab, typed: str, said: str) -> None:
    app = open_lab()
    before = numbers(app)
    app.text_area(key="lab_normal_states").set_value(typed).run()
    assert not app.exception
    assert said in "\n".join(str(error.value) for error in app.error)
    assert "<script>" not in shown(app)
    assert numbers(app) == before
    assert "the last words that could be used" in shown(app)
    app.text_area(key="lab_normal_states").set_value("fine {}").run()
    assert not app.error


def test_prompts_that_are_too_long_are_named_and_the_session_goes_on(open_lab) -> None:
    app = open_lab()
    before = numbers(app)
    app.text_area(key="lab_templates").set_value("a photo " + "long " * 30 + "{}").run()
    assert not app.exception
    assert "33 prompts have more than the" in shown(app)
    assert numbers(app) == before


def test_a_category_shows_single_prompts(open_lab) -> None:
    app = open_lab(category="felt", metric="pixel_auroc")
    app.segmented_control(key="lab_part").set_value("Prompts").run()
    assert not app.exception
    assert any(len(table.value) == 11 and "leans" in table.value for table in app.dataframe)
    app.toggle(key="lab_draws").set_value(True).run()
    assert not app.exception
    assert "bootstrap over images" in shown(app)


def test_words_are_saved_and_chosen_again(open_lab) -> None:
    app = open_lab()
    app.text_area(key="lab_abnormal_states").set_value("rusty {}").run()
    app.text_input(key="lab_name").set_value("../evil").run()
    next(button for button in app.button if button.label == "Save under this name").click().run()
    assert "can't be called" in shown(app)
    assert saved_names() == ()
    app.text_input(key="lab_name").set_value("my_words").run()
    next(button for button in app.button if button.label == "Save under this name").click().run()
    assert not app.exception
    assert "precompute --method clip_cpe winclip --prompts my_words" in shown(app)
    saved = load_ensemble("my_words")
    assert saved.abnormal_states == ("rusty {}",)
    assert saved.tuned_on[0].dataset == "parts"
    assert "my_words" in app.query_params["ensemble"]
    assert open_lab(ensemble="my_words").text_area(key="lab_abnormal_states").value == "rusty {}"


def test_an_ensemble_is_taken_in(open_lab) -> None:
    app = open_lab()
    good = b"title: From outside\nnormal_states: ['ok {}']\nabnormal_states: ['ko {}']\ntemplates: ['{}']\n"
    app.file_uploader(key="lab_upload").upload("bad.yaml", b"title: [").run()
    assert "The prompt ensemble bad.yaml can't be read" in shown(app)
    app.file_uploader(key="lab_upload").upload("good.yaml", good).run()
    assert not app.exception
    assert app.text_area(key="lab_normal_states").value == "ok {}"


def test_suggestions_are_judged_apart_and_can_be_used(open_lab) -> None:
    app = open_lab(ensemble="single", against="single")
    app.segmented_control(key="lab_way").set_value("From the pool alone").run()
    app.button(key="lab_suggest").click().run()
    assert not app.exception
    assert "On 3 categories held apart" in shown(app)
    assert "their own numbers above are partly fitted" in shown(app)
    app.button(key="lab_use").click().run()
    assert not app.exception
    assert "greedy forward selection" in shown(app)
    assert app.text_area(key="lab_normal_states").value != "normal {}"
