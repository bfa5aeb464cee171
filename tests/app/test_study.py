"""The study page: answers where results carry them, and a word of help where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from vlmad_core.analysis.study.answers import answers, study_comparisons

BUNDLED = Path(__file__).parents[2] / "results"
OpenApp = Callable[..., AppTest]


def shown(app: AppTest) -> str:
    return "\n".join(str(element.value) for element in [*app.markdown, *app.caption, *app.info, *app.success])


def test_the_page_says_what_the_results_say(open_app: OpenApp) -> None:
    app = open_app(BUNDLED, "study", {"dataset": "bundled_b", "question": "shots"})
    assert not app.exception
    store, found = study_comparisons([BUNDLED / "bundled"])
    one = next(one for one in found if one.dataset == "bundled_b")
    text = shown(app)
    six_answers = answers(store, one)
    for answer in six_answers:
        assert all(sentence in text for sentence in answer.short)
    (shots,) = (answer for answer in six_answers if answer.question.name == "shots")
    assert all(sentence in text for finding in shots.findings for sentence in finding.sentences)
    # The six answers come before everything else, each under both designs.
    said = [str(element.value) for element in app.main.markdown]
    begin = next(place for place, text in enumerate(said) if text.startswith("Six questions"))
    six = said[begin + 1 : begin + 7]
    assert [text.split("**")[1] for text in six] == [f"{answer.question.title}." for answer in six_answers]
    assert all("\nOn these parts: " in text and "\nOn other parts: " in text for text in six)
    assert not app.expander or not any("no answer yet" in expander.label for expander in app.expander)


def test_the_advice_follows_the_constraints(open_app: OpenApp) -> None:
    app = open_app(BUNDLED, "study", {"dataset": "bundled_a"})
    first = app.success[0].value
    assert app.selectbox(key="advice_shots").value == 4
    app.selectbox(key="advice_shots").set_value(0).run()
    assert not app.exception
    app.number_input(key="advice_latency").set_value(1).run()
    assert app.success[0].value == "Nothing that was measured fits these constraints."
    assert first.startswith("Take ")


@pytest.mark.parametrize("question", ["nonsense", "<script>alert(1)</script>", "../../etc"])
def test_a_hostile_question_falls_back(open_app: OpenApp, question: str) -> None:
    app = open_app(BUNDLED, "study", {"question": question})
    assert not app.exception
    assert app.warning or app.info


def test_results_without_a_study_say_which_command_makes_one(open_app: OpenApp, measured: Path) -> None:
    app = open_app(measured, "study")
    assert not app.exception
    (folded,) = (expander for expander in app.expander if "have no answer yet" in expander.label)
    assert not folded.proto.expanded
    assert folded.code[0].value.splitlines()[-1].startswith("python -m vlmad_core study --dataset ")
    assert "Not answered" in "".join(str(element.value) for element in folded.markdown)
    outside = len(app.markdown) - len(folded.markdown)
    assert sum("Not answered" in str(element.value) for element in app.markdown[:outside]) == 0


def test_an_empty_store_says_so(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app(tmp_path, "study")
    assert not app.exception
    assert any("Nothing has been measured yet" in str(info.proto) for info in app.info)
