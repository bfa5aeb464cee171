from __future__ import annotations

import pytest

from vlmad_core.errors import DatasetError
from vlmad_core.live.engine import Engine
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import Panel
from vlmad_core.live.words import category_words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no name"),
        ("   \t\n", "no name"),
        ("\u200d\u200b\x00", "no name"),
        ("\N{NUT AND BOLT}\N{WRENCH}\ufe0f", "no letters or digits"),
        ("!!! --- {}", "no letters or digits"),
        ("x" * 61, "61 characters"),
        ("nut " * 2500, "10,000 characters"),
    ],
)
def test_words_that_can_not_be_a_name_get_a_reason_and_a_fix(text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        category_words(text)
    assert caught.value.fix.startswith("Say in a word or two")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metal nut", "metal nut"),
        ("  metal_nut\n", "metal nut"),
        ("nut\x00\x1b[31m", "nut [31m"),
        ("{nut} <b>x</b>", "{nut} <b>x</b>"),
        ("Schraube M6 größe", "Schraube M6 größe"),
        ("ねじ", "ねじ"),
        ("nut \N{WRENCH}", "nut \N{WRENCH}"),
    ],
)
def test_words_are_tidied_and_otherwise_left(text: str, words: str) -> None:
    assert category_words(text) == words


def test_braces_and_markup_are_letters_to_the_prompts(engine: Engine, picture) -> None:
    members = choose_members(["clip_cpe"], engine.info, 0)
    (found,) = Panel(engine, "{} <b>{0}</b>", members).judge(picture(0))
    assert found.error is None
    assert any("{} <b>{0}</b>" in reason.text for reason in found.reasons)
