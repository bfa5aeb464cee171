from __future__ import annotations

import pytest
import torch

from vlmad_core.errors import MethodError
from vlmad_core.methods import create_method


def test_reads_no_text_and_finds_the_strange_patch(backbone, pixels):
    method = create_method("patch_memory", stages=(1,))
    reference = pixels[:1]
    changed = reference.clone()
    changed[:, :, 8:16, 16:24] += 3.0  # patch row 2, column 3

    class Mute:
        info = backbone.info

    scorer = method.prepare("nut", Mute(), backbone.encode_images(reference, method.needs(backbone.info, 1)))
    features = backbone.encode_images(torch.cat([reference, changed]), method.needs(backbone.info, 1))
    found = scorer.score(features)
    assert found.image_score[0] == pytest.approx(0.0, abs=1e-6)
    assert found.image_score[1] > 1e-3
    assert int(found.grids[1].argmax()) == 1 * 4 + 2
    assert found.image_score[1] == found.grids[1].max()
    ((reason,),) = scorer.explain(features.select([1]), scorer.score(features.select([1])))
    assert reason.box == (0.5, 0.25, 0.75, 0.5)
    assert reason.text.startswith("nearest: reference 1")


def test_top_percent_is_the_maximum_on_small_grids(backbone, pixels, reference_pixels):
    found = []
    for rule in ("maximum", "top_percent"):
        method = create_method("patch_memory", image_score=rule)
        known = backbone.encode_images(reference_pixels, method.needs(backbone.info, 2))
        features = backbone.encode_images(pixels, method.needs(backbone.info, 2))
        found.append(method.prepare("nut", backbone, known).score(features).image_score)
    assert torch.equal(found[0], found[1])


def test_more_references_never_raise_a_distance(backbone, pixels, reference_pixels):
    method = create_method("patch_memory")
    request = method.needs(backbone.info, 2)
    features = backbone.encode_images(pixels, request)
    known = backbone.encode_images(reference_pixels, request)
    one = method.prepare("nut", backbone, known.select(slice(1))).score(features).grids
    two = method.prepare("nut", backbone, known).score(features).grids
    assert (two <= one + 1e-6).all()
    with pytest.raises(MethodError, match="at least one normal image"):
        method.prepare("nut", backbone)
