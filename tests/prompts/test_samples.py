from __future__ import annotations

import pytest

from vlmad_core.prompts.ensemble import PromptError, load_ensemble


def test_a_name_always_means_the_same_words() -> None:
    first, again = load_ensemble("winclip~2x3.0"), load_ensemble("winclip~2x3.0")
    assert first == again
    assert (len(first.normal_states), len(first.abnormal_states), len(first.templates)) == (2, 2, 3)


def test_draws_differ_and_are_parts_of_the_whole() -> None:
    whole = load_ensemble("winclip")
    draws = [load_ensemble(f"winclip~2x3.{number}") for number in range(6)]
    assert len({draw.content_hash for draw in draws}) > 3
    for draw in draws:
        assert set(draw.normal_states) <= set(whole.normal_states)
        assert set(draw.abnormal_states) <= set(whole.abnormal_states)
        assert set(draw.templates) <= set(whole.templates)


def test_more_than_there_is_means_all() -> None:
    assert load_ensemble("winclip~99x99.4").same_words(load_ensemble("winclip"))


@pytest.mark.parametrize("name", ["winclip~0x3.1", "winclip~2x3", "nothing~1x1.0", "~1x1.0"])
def test_wrong_names_are_refused(name: str) -> None:
    with pytest.raises(PromptError):
        load_ensemble(name)
