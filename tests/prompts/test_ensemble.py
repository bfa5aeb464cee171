from __future__ import annotations

from dataclasses import replace

import pytest

from vlmad_core.prompts import PromptEnsemble, PromptError, list_ensembles, load_ensemble

WINCLIP = load_ensemble("winclip")


@pytest.mark.parametrize(
    ("name", "normal", "abnormal", "distinct"),
    [
        ("single", 1, 1, 2),
        ("winclip", 154, 88, 242),
        ("winclip_accurate", 147, 84, 220),
        ("april_gan", 245, 175, 420),
    ],
)
def test_numbers_of_prompts_are_the_papers(name, normal, abnormal, distinct):
    ensemble = load_ensemble(name)
    prompts = ensemble.normal_prompts("nut") + ensemble.abnormal_prompts("nut")
    assert len(ensemble.normal_prompts("nut")) == normal
    assert len(ensemble.abnormal_prompts("nut")) == abnormal
    assert len(set(prompts)) == distinct
    assert all("nut" in prompt for prompt in prompts)


@pytest.mark.parametrize("name", list_ensembles())
def test_every_ensemble_says_where_it_comes_from(name):
    ensemble = load_ensemble(name)
    assert ensemble.name == name
    assert ensemble.title
    assert ensemble.source
    assert len(ensemble.content_hash) == 16


def test_states_go_into_templates():
    assert "a photo of a metal nut with defect." in WINCLIP.abnormal_prompts("metal nut")
    assert "a photo of a flawless metal nut." in WINCLIP.normal_prompts("metal nut")
    assert "a photo of the damaged metal nut for visual inspection." in WINCLIP.abnormal_prompts("metal nut")


def test_braces_in_a_category_are_left_alone():
    assert "a photo of a {0}." in WINCLIP.normal_prompts("{0}")


def test_hash_sees_every_string_and_its_order():
    changes = [
        {"templates": WINCLIP.templates[::-1]},
        {"templates": (*WINCLIP.templates[:-1], WINCLIP.templates[-1].removesuffix("."))},
        {"normal_states": WINCLIP.abnormal_states, "abnormal_states": WINCLIP.normal_states},
    ]
    hashes = {replace(WINCLIP, **change).content_hash for change in changes}
    assert len(hashes | {WINCLIP.content_hash}) == 4
    assert replace(WINCLIP, title="other").content_hash == WINCLIP.content_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal_states": ()}, "has no normal_states"),
        ({"templates": ("a photo",)}, "exactly one"),
        ({"templates": ("{} and {}",)}, "exactly one"),
        ({"abnormal_states": (3,)}, "where the category goes"),
        ({"templates": tuple(f"{i} {{}}" for i in range(400))}, "more than 4096 prompts"),
    ],
)
def test_malformed_ensembles_are_refused(change, message):
    with pytest.raises(PromptError, match=message):
        replace(WINCLIP, **change)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nnormal_states: ['good {}']\nabnormal_states: ['bad {}']\ntemplates: ['{}']\n")
    mine = load_ensemble(str(path))
    assert (mine.name, mine.normal_prompts("nut"), mine.source) == ("mine", ("good nut",), "")
    path.with_name("other.yaml").write_text("title: Mine\n")
    with pytest.raises(PromptError, match="It needs title, normal_states"):
        load_ensemble(str(path.with_name("other.yaml")))
    path.with_name("third.yaml").write_text("[")
    with pytest.raises(PromptError, match="can't be read"):
        load_ensemble(str(path.with_name("third.yaml")))
    with pytest.raises(PromptError, match="Known are: april_gan"):
        load_ensemble("absent")


def test_ensemble_is_data():
    with pytest.raises(AttributeError):
        WINCLIP.title = "x"
    assert isinstance(WINCLIP, PromptEnsemble)
