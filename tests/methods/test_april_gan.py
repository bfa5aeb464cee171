from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods import anomaly_maps, create_method
from vlmad_core.methods.patches import quarter_stages


@pytest.fixture
def features(backbone, pixels):
    return backbone.encode_images(pixels, create_method("april_gan").needs(backbone.info, 2))


@pytest.fixture
def references(backbone, reference_pixels):
    return backbone.encode_images(reference_pixels, create_method("april_gan").needs(backbone.info, 2))


def test_maps_are_the_papers_formulas(backbone, features, references, trained):
    """Two-class softmax after enlarging, summed over stages, plus the distances to the nearest reference patch."""
    method = create_method("april_gan")
    scorer = method.prepare("nut", backbone, references, trained["april_gan"])
    found = scorer.score(features)
    classes = scorer.text.prototypes
    maps, distances = torch.zeros(5, 32, 32), torch.zeros(5, 32, 32)
    for i, stage in enumerate((1, 2)):
        tokens = features.stages[stage][:, 1:]
        weight, bias = trained["april_gan"][f"linear.{i}.weight"], trained["april_gan"][f"linear.{i}.bias"]
        logits = 100 * F.normalize(tokens @ weight.T + bias, dim=-1) @ classes.T
        large = F.interpolate(
            logits.transpose(1, 2).reshape(5, 2, 4, 4), size=(32, 32), mode="bilinear", align_corners=True
        )
        maps += large.softmax(dim=1)[:, 1]
        memory = references.stages[stage][:, 1:].flatten(0, 1)
        nearest = (1 - F.normalize(tokens, dim=-1) @ F.normalize(memory, dim=-1).T).amin(dim=-1).reshape(5, 1, 4, 4)
        distances += F.interpolate(nearest, size=(32, 32), mode="bilinear", align_corners=True)[:, 0]
    expected = maps + distances
    torch.testing.assert_close(anomaly_maps(found.grids, found.map_rule, (32, 32)), expected, atol=2e-5, rtol=1e-4)
    text = (100 * F.normalize(features.image_embedding, dim=-1) @ classes.T).softmax(dim=-1)[:, 1]
    maximum = expected.flatten(1).amax(dim=1)
    torch.testing.assert_close(found.image_score, 0.5 * (text + maximum / 4), atol=1e-5, rtol=1e-4)

    authors = create_method("april_gan:authors").prepare("nut", backbone, references, trained["april_gan"])
    scaled = (maximum - maximum.min()) / (maximum.max() - maximum.min())
    torch.testing.assert_close(authors.score_set(features).image_score, 0.5 * (text + scaled), atol=1e-4, rtol=1e-3)


def test_transductive_score_depends_on_the_set_and_the_default_does_not(backbone, features, references, trained):
    authors = create_method("april_gan:authors").prepare("nut", backbone, references, trained["april_gan"])
    assert not torch.allclose(
        authors.score_set(features).image_score[:3], authors.score_set(features.select(slice(3))).image_score
    )
    with pytest.raises(MethodError, match="image_fusion='bounded'"):
        authors.score(features)
    default = create_method("april_gan").prepare("nut", backbone, references, trained["april_gan"])
    torch.testing.assert_close(
        default.score(features).image_score[:3], default.score(features.select(slice(3))).image_score
    )


def test_zero_shot_is_never_transductive(backbone, features, trained):
    method = create_method("april_gan:authors")
    assert method.capabilities.transductive
    assert not method.is_transductive(0)
    assert method.is_transductive(1)
    assert len(method.prepare("nut", backbone, None, trained["april_gan"]).score(features).image_score) == 5


def test_calibrated_score_uses_the_range_of_other_images(backbone, features, references, trained):
    method = create_method("april_gan", image_fusion="calibrated")
    scorer = method.prepare("nut", backbone, references, trained["april_gan"], calibration=features)
    authors = create_method("april_gan:authors").prepare("nut", backbone, references, trained["april_gan"])
    torch.testing.assert_close(
        scorer.score(features.select([1])).image_score, authors.score_set(features).image_score[1:2]
    )
    with pytest.raises(MethodError, match="no calibration images"):
        method.prepare("nut", backbone, references, trained["april_gan"])


def test_one_image_alone_has_no_range(backbone, features, references, trained):
    authors = create_method("april_gan:authors").prepare("nut", backbone, references, trained["april_gan"])
    text = create_method("april_gan").prepare("nut", backbone, None, trained["april_gan"])
    one = features.select([0])
    torch.testing.assert_close(authors.score_set(one).image_score, 0.5 * text.score(one).image_score)


def test_stages_of_other_depths():
    assert quarter_stages(24) == (6, 12, 18, 24)
    assert quarter_stages(6) == (2, 3, 5, 6)
    assert quarter_stages(2) == (1, 2)
    assert quarter_stages(1) == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: None, "train april_gan --data NAME"),
        (lambda p: {k: v for k, v in p.items() if "1" not in k}, "for block 2"),
        (lambda p: {**p, "linear.0.weight": torch.zeros(16, 99)}, "16 x 32 for block 1 .* 16 x 99"),
        (lambda p: {**p, "linear.2.weight": torch.zeros(16, 32)}, "more linear layers than the 2 stages"),
        (lambda p: {**p, "stages": torch.tensor([1, 3])}, "trained for the stages 1, 3"),
    ],
)
def test_parameters_that_do_not_fit(backbone, trained, change, message):
    with pytest.raises(MethodError, match=message):
        create_method("april_gan").prepare("nut", backbone, None, change(trained["april_gan"]))


def test_memory_stages_are_their_own_setting(backbone, trained):
    method = create_method("april_gan", memory_stages=(2,))
    assert method.needs(backbone.info, 1).stages == {1, 2}
    shallow = replace(method.settings, stages=(1,))
    assert create_method("april_gan", **shallow.to_json()).needs(backbone.info, 0).stages == {1}


def test_parameters_bring_the_temperature_they_were_trained_with(backbone, features, trained):
    plain = trained["april_gan"]
    warm = {**plain, "temperature": torch.tensor(0.2, dtype=torch.float64)}
    score = create_method("april_gan").prepare("nut", backbone, None, plain).score(features)
    warmer = create_method("april_gan").prepare("nut", backbone, None, warm).score(features)
    torch.testing.assert_close(warmer.grids * 20, score.grids)
    forced = create_method("april_gan", temperature=0.01).prepare("nut", backbone, None, warm).score(features)
    assert torch.equal(forced.grids, score.grids)
