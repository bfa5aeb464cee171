"""What every method must keep: the same result in any batch, order and thread, and a backbone left as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.info import hash_tensors
from vlmad_core.methods import Predictions, anomaly_maps, create_method

SIZE = (40, 24)


def identical(first, second):
    assert torch.equal(first.image_score, second.image_score)
    assert (first.grids is None) == (second.grids is None)
    if first.grids is not None:
        assert torch.equal(first.grids, second.grids)


def test_shapes_and_range(cases, score, pixels):
    for case in cases:
        predictions = score(case, pixels)
        assert predictions.image_score.shape == (5,), case
        assert predictions.image_score.dtype == torch.float32
        assert len(predictions.image_score.unique()) > 1, f"{case}: every image got the same score"
        assert (predictions.grids is not None) == case.method.capabilities.segments
        if predictions.grids is not None:
            maps = anomaly_maps(predictions.grids, predictions.map_rule, SIZE)
            assert maps.shape == (5, *SIZE)
            assert maps.std() > 0


def test_batch_equals_singles(cases, score, pixels):
    for case in cases:
        if case.method.is_transductive(case.shots):
            continue
        whole = score(case, pixels)
        for i in range(5):
            single = score(case, pixels[i : i + 1])
            torch.testing.assert_close(single.image_score, whole.image_score[i : i + 1], atol=2e-6, rtol=1e-5)
            if whole.grids is not None:
                torch.testing.assert_close(single.grids, whole.grids[i : i + 1], atol=2e-5, rtol=1e-5)


def test_twice_and_in_any_order_of_categories(cases, score, pixels):
    for case in cases:
        first = {name: score(case, pixels, name) for name in ("bolt", "felt")}
        second = {name: score(case, pixels, name) for name in ("felt", "bolt")}
        for name in first:
            identical(first[name], second[name])


def test_two_threads(cases, score, pixels):
    alone = [score(case, pixels) for case in cases]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda case: score(case, pixels), [*cases, *cases]))
    for predictions, again in zip([*alone, *alone], together, strict=True):
        identical(predictions, again)


def test_backbone_is_never_changed(cases, score, pixels, backbone):
    def hooks():
        return sum(
            len(table)
            for module in backbone.model.modules()
            for table in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        )

    before = hash_tensors(backbone.model.state_dict()), hooks(), repr(backbone.model.config)
    for case in cases:
        score(case, pixels)
    assert (hash_tensors(backbone.model.state_dict()), hooks(), repr(backbone.model.config)) == before
    assert not backbone.model.training
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_features_and_parameters_are_never_changed(cases, backbone, everything, trained, reference_pixels):
    request = FeatureRequest()
    for case in cases:
        request |= case.method.needs(backbone.info, case.shots)
    known = backbone.encode_images(reference_pixels, request)
    watched = [everything.tensors(), known.tensors(), *trained.values()]
    before = [{name: tensor.clone() for name, tensor in tensors.items()} for tensors in watched]
    for case in cases:
        references = known if case.shots else None
        scorer = case.method.prepare("nut", backbone, references, trained.get(case.method.name))
        scorer.explain(everything, scorer.score_set(everything))
    for tensors, copies in zip(watched, before, strict=True):
        for name, tensor in tensors.items():
            assert torch.equal(tensor, copies[name]), name


def test_one_vision_pass_serves_all_methods(cases, backbone, everything, pixels, trained, score, monkeypatch):
    passes = []
    embeddings = backbone.model.vision_model.embeddings
    forward = embeddings.forward
    monkeypatch.setattr(embeddings, "forward", lambda *a, **k: passes.append(len(a[0])) or forward(*a, **k))
    request = FeatureRequest()
    for case in cases:
        request |= case.method.needs(backbone.info, case.shots)
    features = backbone.encode_images(pixels, request)
    zero_shot = [case for case in cases if case.shots == 0]
    shared = [
        case.method.prepare("nut", backbone, None, trained.get(case.method.name)).score_set(features)
        for case in zero_shot
    ]
    assert passes == [5]
    for case, predictions in zip(zero_shot, shared, strict=True):
        alone = score(case, pixels)
        torch.testing.assert_close(alone.image_score, predictions.image_score, atol=1e-6, rtol=0)


def test_a_reference_left_out_is_judged_as_by_the_others_alone(cases, backbone, pixels, trained):
    able = set()
    for case in [case for case in cases if case.shots]:
        known = backbone.encode_images(pixels[:4], case.method.needs(backbone.info, 4))
        parameters = trained.get(case.method.name)
        together = case.method.prepare("nut", backbone, known, parameters).score_left_out(known)
        if together is None:
            continue
        able.add(case.method.id)
        for i in range(4):
            others = known.select([k for k in range(4) if k != i])
            alone = case.method.prepare("nut", backbone, others, parameters).score(known.select([i]))
            torch.testing.assert_close(together.image_score[i : i + 1], alone.image_score, atol=2e-6, rtol=1e-5)
            torch.testing.assert_close(together.grids[i : i + 1], alone.grids, atol=2e-5, rtol=1e-5)
    assert able == {"winclip:canonical", "april_gan:canonical", "patch_memory:canonical"}


def test_reasons(cases, backbone, everything, trained, reference_pixels):
    for case in cases:
        request = case.method.needs(backbone.info, case.shots)
        references = backbone.encode_images(reference_pixels, request) if case.shots else None
        scorer = case.method.prepare("nut", backbone, references, trained.get(case.method.name))
        reasons = scorer.explain(everything, scorer.score_set(everything))
        assert len(reasons) == 5
        for reason in (reason for image in reasons for reason in image):
            assert reason.kind in ("prompt", "window", "reference")
            assert reason.towards in ("normal", "abnormal")
            assert reason.box is None or (0 <= reason.box[0] < reason.box[2] <= 1)
        if case.method.capabilities.uses_text and case.method.name != "anomaly_clip":
            assert any("nut" in reason.text for reason in reasons[0] if reason.kind == "prompt")
        if case.shots:
            assert any(reason.kind == "reference" and "nearest: reference" in reason.text for reason in reasons[0])


@pytest.mark.parametrize("name", ["clip_ac", "clip_cpe", "anomaly_clip", "musc"])
def test_methods_without_references_say_so(name):
    assert "does not use reference images" in create_method(name).why_not_applicable(1)


def test_patch_memory_needs_references():
    assert "at least one shot" in create_method("patch_memory").why_not_applicable(0)


def test_the_nearest_reference_patch_of_a_reference_is_itself(cases, backbone, reference_pixels, trained):
    told = set()
    for case in cases:
        request = case.method.needs(backbone.info, case.shots)
        features = backbone.encode_images(reference_pixels, request)
        scorer = case.method.prepare("nut", backbone, features if case.shots else None, trained.get(case.method.name))
        found = scorer.score_set(features).nearest
        assert case.shots or found is None, case
        if found is not None:
            told.add(case.method.name)
            similarity, index = found.similarity, found.index
            assert similarity.shape == index.shape == (2, 16)
            torch.testing.assert_close(similarity, torch.ones(2, 16), atol=1e-5, rtol=0)
            assert torch.equal(index.flatten(), torch.arange(32)), case
    assert {"winclip", "april_gan", "patch_memory"} <= told


def test_scores_are_computed_where_the_features_are(cases, backbone, pixels, reference_pixels, trained, monkeypatch):
    """On the device without memory every operation that mixes it with the CPU fails, as on a graphics card."""

    class Elsewhere:
        info = backbone.info

        def encode_text(self, prompts):
            return backbone.encode_text(prompts).to("meta")

        def encode_learned_prompts(self, prompts, context, deep=()):
            return torch.empty(len(prompts), self.info.embed_dim, device="meta")

    monkeypatch.setattr(Predictions, "__post_init__", lambda self: None)  # there are no values to look at
    for case in cases:
        if case.method.id == "april_gan:authors":
            continue  # it looks at the greatest value of a set, which no tensor without memory has
        request = case.method.needs(backbone.info, case.shots)
        features = backbone.encode_images(pixels, request).to("meta")
        references = backbone.encode_images(reference_pixels, request).to("meta") if case.shots else None
        parameters = {name: tensor.to("meta") for name, tensor in trained.get(case.method.name, {}).items()}
        scorer = case.method.prepare("nut", Elsewhere(), references, parameters or None)
        together = case.method.is_transductive(case.shots)
        found = scorer.score_set(features) if together else scorer.score(features)
        assert found.image_score.device.type == "meta", case
        assert found.grids is None or found.grids.device.type == "meta", case
        assert found.nearest is None or found.nearest.similarity.device.type == "meta", case
        assert all(tensor.device.type == "meta" for tensor in found.kept.values()), case
