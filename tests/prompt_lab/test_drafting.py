from __future__ import annotations

from dataclasses import replace

import pytest

from vlmad_core.prompt_lab import score_dataset
from vlmad_core.prompt_lab.drafting import FIELDS, draft_ensemble, texts_of, too_long
from vlmad_core.prompts import Tuning, load_ensemble

STATES = load_ensemble("states")
WATCHED = Tuning("widgets", ("bolt",), "by hand", "image_auroc")


def test_unchanged_words_are_the_ensemble_itself():
    assert draft_ensemble(texts_of(STATES), STATES, WATCHED).ensemble is STATES
    spaced = {field: f"\n  {text}\n\n" for field, text in texts_of(STATES).items()}
    assert draft_ensemble(spaced, STATES, WATCHED).ensemble is STATES


def test_changed_words_record_what_was_watched_once():
    texts = texts_of(STATES) | {"abnormal_states": "rusty {}"}
    first = draft_ensemble(texts, STATES, WATCHED).ensemble
    assert first.abnormal_states == ("rusty {}",)
    assert first.tuned_on == (WATCHED,)
    assert first.title == "States, edited"
    second = draft_ensemble(texts | {"templates": "{}!"}, first, WATCHED).ensemble
    assert (second.tuned_on, second.title) == ((WATCHED,), "States, edited")
    assert draft_ensemble(texts, STATES).ensemble.tuned_on == ()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Nothing here yet"),
        ("\N{GRINNING FACE} {}", "only symbols"),
        ("<b>bad</b> {}", "html"),
        ("{broken} {}", "braces"),
        ("x" * 10_000 + "{}", "10,002 characters"),
        ("\n".join(["good {}", *("bad",) * 5]), "2 more lines"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(field, text, said):
    draft = draft_ensemble(texts_of(STATES) | {field: text}, STATES)
    assert draft.ensemble is None
    assert set(draft.problems) == {field}
    assert said in " ".join(draft.problems[field])


def test_too_many_prompts_concern_the_whole():
    many = {field: "\n".join(f"{i} {{}}" for i in range(100)) for field in FIELDS}
    draft = draft_ensemble(many, STATES)
    assert draft.ensemble is None
    assert "more than 4096 prompts" in draft.problems["whole"][0]


def test_prompts_that_are_too_long_are_counted_and_shown(backbone, data, bank):
    nouns = [category.noun for category in data.categories]
    score_dataset(data, STATES, bank)
    assert too_long(backbone, STATES, nouns, bank) is None
    long = replace(STATES, templates=("a photo of a {} " + "x" * backbone.info.context_length,))
    said = too_long(backbone, long, nouns, bank)
    assert f"{len(nouns) * 11} prompts have more than the {backbone.info.context_length} tokens" in said
    assert "a photo of a" in said
