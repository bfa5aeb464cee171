from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods import anomaly_maps, create_method


def test_category_is_never_read(backbone, pixels, trained):
    method = create_method("anomaly_clip")
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    scores = [method.prepare(name, backbone, None, trained["anomaly_clip"]).score(features) for name in ("nut", "felt")]
    assert torch.equal(scores[0].image_score, scores[1].image_score)


def test_probabilities_are_taken_per_patch_and_smoothed_after_enlarging(backbone, pixels, trained):
    method = create_method("anomaly_clip", stages=(1, 2), value_start=2, smoothing_size=32)
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    scorer = method.prepare("nut", backbone, None, trained["anomaly_clip"])
    found = scorer.score(features)
    expected = torch.zeros(5, 16)
    for stage in (1, 2):
        patches = F.normalize(features.value_paths[2, stage][:, 1:], dim=-1)
        expected += (patches @ scorer.prototypes.T / 0.07).softmax(dim=-1)[..., 1]
    torch.testing.assert_close(found.grids.reshape(5, 16), expected)
    large = F.interpolate(expected.reshape(5, 1, 4, 4), size=(32, 32), mode="bilinear", align_corners=False)[:, 0]
    unsmoothed = replace(found.map_rule, gaussian_sigma=0.0)
    torch.testing.assert_close(anomaly_maps(found.grids, unsmoothed, (32, 32)), large)
    smooth = anomaly_maps(found.grids, found.map_rule, (32, 32))
    assert smooth.std() < large.std()


def test_default_places_follow_the_depth(backbone):
    method = create_method("anomaly_clip")
    large = replace(backbone.info, depth=24)
    assert method.value_paths(large) == ((6, 24),)
    assert method.value_paths(replace(large, depth=12)) == ((3, 12),)
    assert method.value_paths(replace(large, depth=6)) == ((2, 6),)


def test_class_token_with_and_without_layer_norm(backbone, pixels, trained):
    plain, normed = create_method("anomaly_clip"), create_method("anomaly_clip", class_layer_norm=True)
    assert plain.needs(backbone.info, 0).class_projection
    assert normed.needs(backbone.info, 0).image_embedding
    scores = []
    for method in (plain, normed):
        features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
        scores.append(method.prepare("nut", backbone, None, trained["anomaly_clip"]).score(features).image_score)
    assert not torch.allclose(scores[0], scores[1])


def test_rounding_of_deep_prompts_is_a_setting(backbone, trained):
    parameters = {**trained["anomaly_clip"], "deep.0": trained["anomaly_clip"]["deep.0"] + 1e-5}
    exact = create_method("anomaly_clip").prepare("nut", backbone, None, parameters).prototypes
    rounded = create_method("anomaly_clip:authors").prepare("nut", backbone, None, parameters).prototypes
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "train anomaly_clip --data NAME"),
        ({}, "no learned prompts"),
        ({"context": torch.zeros(1, 3, 32)}, "no learned prompts"),
        ({"context": torch.zeros(2, 3, 32), "deep.1": torch.zeros(2, 32)}, "no learned prompts"),
    ],
)
def test_parameters_that_do_not_fit(backbone, parameters, message):
    with pytest.raises(MethodError, match=message):
        create_method("anomaly_clip").prepare("nut", backbone, None, parameters)
