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
    for answer in answers(store, one):
        assert answer.headline in text
    assert "What do reference images bring?" in text


def test_the_advice_follows_the_constraints(open_app: OpenApp) -> None:
    app = open_app(BUNDLED, "study", {"dataset": "bundled_a"})
    first = app.success[0].value
    app.selectbox(key="advice_shots").set_value(4).run()
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
    assert any("python -m vlmad_core study" in code.value for code in app.code)
    assert "Not answered" in shown(app)


def test_an_empty_store_says_so(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app(tmp_path, "study")
    assert not app.exception
    assert any("Nothing has been measured yet" in str(info.proto) for info in app.info)
