from __future__ import annotations

import pytest
import yaml

from vlmad_core.cards import card_names
from vlmad_core.errors import MethodError, VlmadError
from vlmad_core.methods import (
    ALIASES,
    Method,
    create_method,
    list_methods,
    load_card,
    method_class,
    register_method,
    takes_prompts,
)
from vlmad_core.methods import registry as registry_module
from vlmad_core.prompts.places import TAKEN, list_ensembles

BUILT_IN = (
    *("clip_ac", "clip_cpe", "winclip", "april_gan", "anomaly_clip", "patch_memory"),
    *("teacher_memory", "musc"),
)


def test_list_is_in_display_order():
    assert tuple(name for name in list_methods() if name in BUILT_IN) == BUILT_IN
    assert list_methods("clip_*") == ("clip_ac", "clip_cpe")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_preset_can_be_made_and_recorded(name):
    for preset in method_class(name).presets:
        method = create_method(f"{name}:{preset}")
        assert method.id == f"{name}:{preset}"
        assert yaml.safe_load(yaml.safe_dump(method.settings.to_json(), sort_keys=True)) is not None
        for key, value in method_class(name).presets[preset].items():
            assert getattr(method.settings, key) == value


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_method_has_a_complete_card(name):
    card = load_card(name)
    assert card.summary
    assert card.paper
    assert 2021 <= card.year <= 2026
    assert card.url.startswith("https://")
    assert card.needs
    described = {setting for setting, _ in card.settings}
    settings = set(method_class(name).settings_type.__dataclass_fields__)
    assert described == settings, "the card describes exactly the settings there are"
    assert (card.trained_on is not None) == create_method(name).capabilities.trained


def test_cards_belong_to_methods():
    assert set(card_names()) == set(list_methods())


def test_aliases():
    assert method_class("WinCLIP+").name == "winclip"
    assert method_class("AprilLab").name == "april_gan"
    assert {method_class(alias).name for alias in ALIASES} <= set(list_methods())


def test_titles():
    assert create_method("winclip").title() == "WinCLIP"
    assert create_method("winclip").title(4) == "WinCLIP+"
    assert create_method("april_gan").title(0) == "AprilLab (APRIL-GAN)"
    assert create_method("april_gan").title(4) == "AprilLab (APRIL-GAN), non-transductive"
    assert create_method("april_gan", image_fusion="calibrated").title(4) == "AprilLab (APRIL-GAN), calibrated"
    assert create_method("april_gan:authors").title(0) == "AprilLab (APRIL-GAN)"
    assert create_method("april_gan:authors").title(4) == "AprilLab (APRIL-GAN), transductive"
    assert "transductive" in create_method("musc").title()


@pytest.mark.parametrize(
    ("identifier", "settings", "message"),
    [
        ("winclp", {}, "Did you mean 'winclip'"),
        ("nothing_like_it", {}, "Known are: clip_ac"),
        ("winclip:papr", {}, "Known are: canonical, accurate, anomalib"),
        ("winclip", {"temprature": 1}, "no setting 'temprature'.*ensemble"),
        ("winclip", {"temperature": 0}, "'temperature' of WinCLIP is 0"),
        ("winclip", {"temperature": float("nan")}, "'temperature'"),
        ("winclip", {"scales": ()}, "'scales'"),
        ("winclip", {"scales": (0,)}, "'scales'"),
        ("winclip", {"association": "median"}, "harmonic"),
        ("clip_ac", {"text_average": "sum"}, "'text_average'"),
        ("clip_ac", {"ensemble": "none"}, "no prompt ensemble 'none'"),
        ("april_gan", {"stages": ()}, "'stages' of APRIL-GAN"),
        ("april_gan", {"stages": (3, 3)}, "different blocks"),
        ("april_gan", {"memory_stages": (0,)}, "'memory_stages'"),
        ("april_gan", {"image_fusion": "paper"}, "bounded, calibrated, transductive"),
        ("anomaly_clip", {"value_start": 0}, "'value_start'"),
        ("anomaly_clip", {"smoothing_sigma": -1}, "'smoothing_sigma'"),
        ("musc", {"neighbourhoods": (2,)}, "odd"),
        ("musc", {"neighbours": (0,)}, "'neighbours'"),
        ("musc", {"fraction": 0}, "'fraction'"),
        ("patch_memory", {"image_score": "mean"}, "maximum"),
        ("winclip", {"temperature": "warm"}, "'temperature' of winclip is 'warm'. Give a number."),
        ("winclip", {"temperature": True}, "Give a number"),
        ("winclip", {"scales": 3}, "'scales' of winclip is 3. Give a list of whole numbers."),
        ("winclip", {"scales": (2.5,)}, "Give a list of whole numbers"),
        ("april_gan", {"stages": "6,12"}, "Give a list of whole numbers; or leave it out."),
        ("clip_cpe", {"name_table": "pretty"}, "Choose one of: spaced, raw, pad, aa, object."),
        ("clip_cpe", {"patch_map": "yes"}, "Give a true or false value."),
    ],
)
def test_wrong_use_names_the_fix(identifier, settings, message):
    with pytest.raises(VlmadError, match=message):
        create_method(identifier, **settings)


def test_published_setups():
    winclip, april, acl = (method_class(n).published for n in ("winclip", "april_gan", "anomaly_clip"))
    assert (winclip.image_size, winclip.activation) == (240, None)
    assert (april.image_size, april.activation, april.position_rule) == (518, "gelu", "bicubic_antialias")
    assert (acl.image_size, acl.activation, acl.position_rule) == (518, "quick_gelu", "bilinear")
    assert april.backbone == acl.backbone == "openai/clip-vit-large-patch14-336"
    assert method_class("patch_memory").published is None


@pytest.mark.parametrize(
    ("backbone", "activation"),
    [
        ("openai/clip-vit-large-patch14-336", "gelu"),
        ("/models/clip-vit-large-patch14-336/", "gelu"),
        ("timm/vit_large_patch14_clip_336.openai", "gelu"),
        ("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", None),
        ("./my-model", None),
    ],
)
def test_an_activation_is_forced_on_openais_weights_only(backbone, activation):
    assert method_class("april_gan").published.activation_for(backbone) == activation
    assert method_class("winclip").published.activation_for(backbone) is None


def test_a_name_is_given_once(monkeypatch):
    monkeypatch.setattr(registry_module, "_METHODS", dict(registry_module._METHODS))
    other = type("Other", (Method,), {"name": "winclip", "__module__": "elsewhere"})
    with pytest.raises(MethodError, match="Two methods are called 'winclip'"):
        register_method(other)


def test_a_method_needs_a_card(monkeypatch):
    monkeypatch.setattr(registry_module, "_METHODS", dict(registry_module._METHODS))
    with pytest.raises(MethodError, match="'bare' has no card"):
        register_method(type("Bare", (Method,), {"name": "bare"}))
    assert "bare" not in list_methods()


OWN = "title: Own\nnormal_states: ['good {}']\nabnormal_states: ['bad {}']\ntemplates: ['{}']\n"


def test_an_ensemble_stands_for_a_preset(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path))
    file = tmp_path / "own_words.yaml"
    file.write_text(OWN)
    method = create_method("winclip:own_words")
    label = method.preset
    assert label.startswith("own_words-")
    assert method.settings.ensemble == "own_words"
    assert method.prompt_record() == {"ensemble": "own_words", "content_hash": method.ensemble.content_hash}
    assert create_method(f"winclip:{label}").id == f"winclip:{label}"
    assert create_method("winclip", ensemble=str(file)).preset == label
    mixed = create_method("winclip:accurate", ensemble="own_words")
    assert mixed.preset == f"accurate+{label}"
    assert create_method(mixed.id).settings == mixed.settings
    assert create_method("clip_cpe", ensemble="states").id == "clip_cpe:states"
    file.write_text(OWN.replace("good", "fine"))
    assert method.ensemble.normal_states == ("good {}",), "a method keeps the words it was made with"
    assert create_method("winclip:own_words").preset != label
    with pytest.raises(VlmadError, match="other words than when"):
        create_method(f"winclip:{label}")
    with pytest.raises(MethodError, match="or the name of a prompt ensemble"):
        create_method("winclip:absent")
    with pytest.raises(MethodError, match="has no preset 'winclip'"):
        create_method("musc:winclip")


def test_no_saved_ensemble_can_hide_a_preset():
    presets = {preset for name in BUILT_IN for preset in method_class(name).presets}
    assert presets <= TAKEN | set(list_ensembles())


def test_who_takes_any_prompts_is_a_capability_and_has_the_setting():
    takers = [name for name in BUILT_IN if takes_prompts(name)]
    assert takers == ["clip_cpe", "winclip"]
    assert takes_prompts("winclip:accurate")
    assert takes_prompts("winclip+")
    assert not takes_prompts("clip_ac:templates")
    for name in takers:
        assert create_method(f"{name}:april_gan").settings.ensemble == "april_gan"
    with pytest.raises(MethodError, match="no method 'absent'"):
        takes_prompts("absent")
