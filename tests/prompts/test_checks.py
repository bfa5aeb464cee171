from __future__ import annotations

import pytest

from vlmad_core.prompts import problem_of, read_phrases


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("flawless", "exactly one {}"),
        ("{} or {}", "exactly one {}"),
        ("{name} {}", "braces besides {}"),
        ("{} }", "braces besides {}"),
        ("{0}", "exactly one {}"),
        ("<b>flawless</b> {}", "html"),
        ("<img src=x onerror=alert(1)> {}", "html"),
        ("<!-- {} -->", "html"),
        ("\N{GRINNING FACE}", "exactly one {}"),
        ("\N{GRINNING FACE} {} \N{WARNING SIGN}\N{VARIATION SELECTOR-16}", "only symbols"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("flawless\n{}", "control character"),
        ("flawless \x00 {}", "control character"),
        ("flawless {} " * 1000, "has 12,000 characters, at most 300"),
        (7, "int and no text"),
        (None, "NoneType and no text"),
    ],
)
def test_what_cannot_be_used_is_said(phrase, message):
    assert message in (problem_of(phrase, "state") or "")


@pytest.mark.parametrize(
    "phrase",
    ["{}", "{}.", "flawless {}", "einwandfreie {}", "無傷の {}", "{} > 3 mm", "{} < ok", "ok \N{WARNING SIGN} {}"],
)
def test_words_of_any_language_can_be_used(phrase):
    assert problem_of(phrase, "state") is None


def test_lines_are_counted_as_typed_and_good_ones_are_kept():
    phrases, problems = read_phrases("flawless {}\n\n  perfect {} \nperfect\n<i>{}</i>\n", "state")
    assert phrases == ("flawless {}", "perfect {}")
    assert [problem.line for problem in problems] == [4, 5]
    assert str(problems[0]).startswith("Line 4: has not exactly one {}; write {} where the category goes")


def test_a_long_line_is_shown_cut():
    _, problems = read_phrases("x" * 10_000 + " {}", "template")
    assert len(problems) == 1
    assert len(problems[0].phrase) <= 60
    assert "10,003 characters" in problems[0].message


def test_nothing_and_too_much_are_said():
    assert "at least one template" in str(read_phrases(" \n \n", "template")[1][0])
    phrases, problems = read_phrases("\n".join(f"{i} {{}}" for i in range(201)), "state")
    assert len(phrases) == 201
    assert "201 lines; at most 200" in str(problems[0])
