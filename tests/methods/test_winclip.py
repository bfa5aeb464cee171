from __future__ import annotations

import pytest
import torch

from vlmad_core.backbones import Features
from vlmad_core.errors import BackboneError, MethodError
from vlmad_core.methods import create_method
from vlmad_core.methods.patches import nearest_in_memory, unit_rows


def test_identical_reference_has_no_association(backbone, pixels):
    """Image = reference: every distance is 0, the score half the text score, and nothing is NaN."""
    zero, few = create_method("winclip"), create_method("winclip")
    features = backbone.encode_images(pixels[:1], few.needs(backbone.info, 1))
    text_only = zero.prepare("nut", backbone).score(features)
    both = few.prepare("nut", backbone, references=features).score(features)
    torch.testing.assert_close(both.image_score, 0.5 * text_only.image_score, atol=1e-6, rtol=0)
    torch.testing.assert_close(both.grids, 0.5 * text_only.grids, atol=1e-6, rtol=0)


def test_image_ranking_does_not_depend_on_temperature(backbone, pixels):
    scores = []
    for temperature in (0.07, 0.3, 1.0):
        method = create_method("winclip", temperature=temperature)
        features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
        scores.append(method.prepare("nut", backbone).score(features).image_score)
    assert all(torch.equal(scores[0].argsort(), other.argsort()) for other in scores[1:])
    assert not torch.allclose(scores[0], scores[1])


def test_association_is_literal(backbone, pixels, reference_pixels):
    """The few-shot map of one image by plain loops over windows, patches and references."""
    method = create_method("winclip", scales=(2,))
    request = method.needs(backbone.info, 2)
    features, references = (backbone.encode_images(p, request) for p in (pixels[:1], reference_pixels))
    scorer = method.prepare("nut", backbone, references)
    unit = torch.nn.functional.normalize

    def distance(query, memory):
        return min(0.5 * (1 - float(unit(query, dim=0) @ unit(row, dim=0))) for row in memory)

    association = scorer._association(features, scorer.score(features).nearest, nearest_in_memory)
    windows = [distance(w, references.windows[2].flatten(0, 1)) for w in features.windows[2][0]]
    memory = references.stages[backbone.info.depth][:, 1:].flatten(0, 1)
    for r in range(4):
        for c in range(4):
            cover = [windows[i * 3 + j] for i in range(3) for j in range(3) if i <= r < i + 2 and j <= c < j + 2]
            harmonic = len(cover) / sum(1 / w for w in cover)
            patch = distance(features.stages[backbone.info.depth][0, 1 + 4 * r + c], memory)
            assert float(association[0, r, c]) == pytest.approx((harmonic + patch) / 2, abs=1e-5)


def test_presets_differ(backbone, pixels, reference_pixels):
    found = []
    for preset in ("canonical", "accurate", "anomalib"):
        method = create_method(f"winclip:{preset}")
        request = method.needs(backbone.info, 2)
        known = backbone.encode_images(reference_pixels, request)
        features = backbone.encode_images(pixels, request)
        found.append(method.prepare("nut", backbone, known).score(features).image_score)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_the_fast_preset_is_the_same_method_on_fewer_windows(backbone, pixels, reference_pixels):
    fast, plain = create_method("winclip:fast"), create_method("winclip", scales=(3,))
    request = fast.needs(backbone.info, 2) | plain.needs(backbone.info, 2)
    known, features = (backbone.encode_images(p, request) for p in (reference_pixels, pixels))
    assert fast.needs(backbone.info, 0).windows == {(3, 2)}
    # On a grid of 4 x 4 the windows of 3 with stride 2, the last ones flush with the border, are all there are.
    quick, whole = (method.prepare("nut", backbone, known).score(features) for method in (fast, plain))
    torch.testing.assert_close(quick.grids, whole.grids)
    scorer = fast.prepare("nut", backbone)
    boxes = {reason.box for reason in scorer.explain(features, scorer.score(features))[0] if reason.box}
    assert boxes <= {(x, y, x + 0.75, y + 0.75) for x in (0, 0.25) for y in (0, 0.25)}


def test_a_stride_is_recorded_only_where_it_is_not_one():
    """The records of runs from before there was a choice must keep their hash."""
    assert "stride" not in create_method("winclip").settings.to_json()
    assert create_method("winclip:fast").settings.to_json()["stride"] == 2


@pytest.mark.parametrize(("scales", "stride"), [((2, 3), 3), ((2,), 0)])
def test_a_stride_that_leaves_patches_out_names_the_choice(scales, stride):
    with pytest.raises(MethodError, match=r"'stride' of WinCLIP.*between 1 and 2"):
        create_method("winclip", scales=scales, stride=stride)


def test_a_window_larger_than_the_grid_names_the_choice(backbone, pixels):
    method = create_method("winclip", scales=(2, 5))
    with pytest.raises(BackboneError, match="between 1 and 4"):
        backbone.encode_images(pixels, method.needs(backbone.info, 0))


def test_distance_of_equal_vectors_is_never_negative():
    vectors = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    assert (nearest_in_memory(vectors, unit_rows(vectors)).distance >= 0).all()


@pytest.mark.parametrize("grid", [(3, 6), (5, 3), (4, 4)])
def test_grids_need_not_be_square(backbone, grid):
    """Zero-shot and few-shot maps on any grid, by plain loops over made-up embeddings."""
    rows, columns = grid
    random = torch.Generator().manual_seed(5)

    def made_up(images):
        def values(*shape):
            return torch.randn(images, *shape, generator=random)

        windows = {k: values((rows - k + 1) * (columns - k + 1), 16) for k in (2, 3)}
        stages = {backbone.info.depth: values(1 + rows * columns, 32)}
        return Features(grid=grid, image_embedding=values(16), windows=windows, stages=stages)

    features, references = made_up(1), made_up(2)
    method = create_method("winclip")
    zero, few = method.prepare("nut", backbone), method.prepare("nut", backbone, references)
    text = zero.text.prototypes
    unit = torch.nn.functional.normalize

    def anomalous(embedding):
        return float((unit(embedding, dim=-1) @ text.T / 0.07).softmax(dim=-1)[1])

    def distance(query, memory):
        return min(0.5 * (1 - float(unit(query, dim=0) @ unit(row, dim=0))) for row in memory)

    def harmonic(values):
        return len(values) / sum(1 / value for value in values)

    patches = references.stages[backbone.info.depth][:, 1:].flatten(0, 1)
    zero_map, few_map = zero.score(features).grids[0, 0], few.score(features).grids[0, 0]
    assert zero_map.shape == few_map.shape == grid
    for r in range(rows):
        for c in range(columns):
            scores, distances = [anomalous(features.image_embedding[0])], []
            for k in (2, 3):
                places = [(i, j) for i in range(rows - k + 1) for j in range(columns - k + 1)]
                cover = [n for n, (i, j) in enumerate(places) if i <= r < i + k and j <= c < j + k]
                memory = references.windows[k].flatten(0, 1)
                scores.append(harmonic([anomalous(features.windows[k][0, n]) for n in cover]))
                distances.append(harmonic([distance(features.windows[k][0, n], memory) for n in cover]))
            distances.append(distance(features.stages[backbone.info.depth][0, 1 + columns * r + c], patches))
            assert float(zero_map[r, c]) == pytest.approx(harmonic(scores), abs=1e-5)
            assert float(few_map[r, c]) == pytest.approx((harmonic(scores) + sum(distances) / 3) / 2, abs=1e-5)
    boxes = [reason.box for reason in zero.explain(features, zero.score(features))[0] if reason.box]
    assert all(0 <= left < right <= 1 and 0 <= top < bottom <= 1 for left, top, right, bottom in boxes)
