"""Prompts in the live demo: the program's and saved ones, damaged ones, links, and words chosen on the data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pages._live.ensembles import in_brief
from vlmad_core.paths import prompts_folder
from vlmad_core.prompts import Tuning, load_ensemble, save_ensemble
from vlmad_core.prompts.saved import ensemble_label

WORDS = replace(
    load_ensemble("states"), title="My words", normal_states=("spotless {}",), abnormal_states=("wrecked {}",)
)


@pytest.fixture
def own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A saved ensemble, alone in its folder."""
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path / "prompts"))
    words = replace(WORDS, tuned_on=(Tuning("parts", ("bolt",), "by hand", "auroc"),))
    save_ensemble(words, "my_words")
    return "my_words"


@pytest.fixture
def open_demo(open_app, measured: Path, tiny_backbone: None, tiny_dataset, tmp_path: Path):
    """A function that opens the demo on an image of a tiny data set."""
    tiny_dataset(tmp_path / "data" / "parts")

    def open_page(**parameters: str):
        link = {"dataset": "parts", "category": "bolt", **parameters}
        app = open_app(measured, "live_demo", link, data_dir=tmp_path / "data")
        assert not app.exception
        return app

    return open_page


def texts(app) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.info, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def scores(app) -> dict[str, float]:
    return {one.method_id: one.image_score for one in app.session_state["live"].results.values()}


def judged_now(app) -> list[str]:
    return [member.method_id for member in app.session_state["live"].panel[1].members]


def test_saved_prompts_are_offered_and_judge(open_demo, own_words: str) -> None:
    app = open_demo()
    label = ensemble_label(own_words)
    assert judged_now(app) == ["clip_ac:canonical", "clip_cpe:canonical", "winclip:canonical"]
    assert "prompts for CLIP + CPE and WinCLIP; the others keep theirs." in texts(app)
    before = scores(app)
    app.selectbox(key="choose_prompts").select(own_words).run()
    assert not app.exception
    assert app.query_params["prompts"] == own_words
    assert judged_now(app) == ["clip_ac:canonical", f"clip_cpe:{label}", f"winclip:{label}"]
    now = scores(app)
    assert now["clip_ac:canonical"] == before["clip_ac:canonical"], "the one pair of CLIP-AC stays"
    assert now[f"clip_cpe:{label}"] != before["clip_cpe:canonical"]
    (shown,) = (one for one in app.caption if one.value == f"`winclip:{label}`")
    assert "spotless {}" in shown.help
    assert "wrecked {}" in shown.help
    app.selectbox(key="choose_prompts").select("winclip").run()
    assert judged_now(app) == ["clip_ac:canonical", "clip_cpe:canonical", "winclip:canonical"]
    assert f"`winclip:{label}`" not in texts(app)


def test_a_link_opens_with_saved_prompts_and_warns_where_they_were_chosen(open_demo, own_words: str) -> None:
    app = open_demo(prompts=own_words)
    assert app.selectbox(key="choose_prompts").value == own_words
    assert f"winclip:{ensemble_label(own_words)}" in scores(app)
    assert "The words of My words were chosen (by hand)" in texts(app)
    app.selectbox(key="choose_category").select("felt").run()
    assert "were chosen (by hand)" not in texts(app), "felt is not among what they were chosen on"
    app.selectbox(key="choose_category").select("bolt").run()
    app.pills(key="live_methods").set_value(["clip_ac"]).run()
    assert "were chosen (by hand)" not in texts(app)
    assert "None of the methods chosen takes other prompts" in texts(app)


def test_words_saved_again_under_the_same_name_judge_anew(open_demo, own_words: str) -> None:
    app = open_demo(prompts=own_words)
    first = ensemble_label(own_words)
    save_ensemble(replace(load_ensemble(own_words), normal_states=("brand new {}",)), own_words, overwrite=True)
    app.run()
    assert not app.exception
    assert judged_now(app)[1] == f"clip_cpe:{ensemble_label(own_words)}"
    assert first != ensemble_label(own_words)
    assert f"clip_cpe:{first}" in scores(app)


@pytest.mark.parametrize(
    "asked", ["absent", "../../etc/passwd", "<img src=x onerror=alert(1)>", "x" * 5000, "my_words "]
)
def test_a_link_with_unknown_prompts_falls_back_and_says_so(open_demo, own_words: str, asked: str) -> None:
    app = open_demo(prompts=asked)
    assert any("asks for prompts" in warning.value for warning in app.warning)
    assert app.selectbox(key="choose_prompts").value == "winclip"
    assert "winclip:canonical" in scores(app)
    assert "<img" not in texts(app)
    assert "prompts" not in app.query_params


def test_damaged_prompts_are_named_with_the_reason(open_demo, own_words: str) -> None:
    (prompts_folder() / "broken.yaml").write_text("title: [")
    app = open_demo(prompts="broken")
    assert any("The saved prompts `broken` can't be used." in warning.value for warning in app.warning)
    assert app.selectbox(key="choose_prompts").value == "winclip"
    assert not any("broken" in option for option in app.selectbox(key="choose_prompts").options)
    (said,) = (one.value for one in app.markdown if one.value.startswith("**broken**: "))
    assert len(said) > len("**broken**: ")
    assert "winclip:canonical" in scores(app)


def test_long_lists_of_words_are_cut() -> None:
    assert "wrecked {}" in in_brief(WORDS)
    assert "more" not in in_brief(WORDS)
    long = replace(WORDS, normal_states=tuple(f"good {number} {{}}" for number in range(20)))
    assert "and 8 more" in in_brief(long)


def test_the_lab_leads_to_the_demo_with_its_words(
    open_app, empty: Path, tiny_backbone: None, tiny_dataset, own_words: str, tmp_path: Path
) -> None:
    tiny_dataset(tmp_path / "data" / "parts")
    link = {"dataset": "parts", "ensemble": own_words}
    app = open_app(empty, "prompt_lab", link, data_dir=tmp_path / "data")
    assert not app.exception

    def leads_to() -> list[str]:
        links = [one.proto for one in app.get("page_link")]
        return [one.query_string for one in links if one.label == "Judge an image with these words"]

    assert leads_to() == ["prompts=my_words"]
    app.text_area(key="lab_normal_states").set_value("not saved {}").run()
    assert leads_to() == [], "words that are not saved can't be taken along"
