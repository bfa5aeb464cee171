from __future__ import annotations

import pytest
import torch

from vlmad_core.backbones import FeatureRequest, Features, concatenate_features


def made_up(count=4):
    values = torch.arange(count, dtype=torch.float32)
    return Features(
        grid=(2, 3),
        image_embedding=values[:, None].expand(-1, 2),
        stages={1: values[:, None, None].expand(-1, 7, 2)},
        value_paths={(1, 2): values[:, None, None].expand(-1, 7, 2)},
    )


def test_union_and_cover():
    first = FeatureRequest(image_embedding=True, stages=frozenset({1}))
    second = FeatureRequest(stages=frozenset({2}), windows=frozenset({3}))
    both = first | second
    assert both == second | first
    assert both.image_embedding
    assert both.stages == {1, 2}
    assert both.covers(first)
    assert both.covers(second)
    assert not first.covers(second)
    assert first.covers(FeatureRequest())


def test_names_are_flat():
    assert set(made_up().tensors()) == {"image_embedding", "stages.1", "value_paths.1.2"}


def test_select_and_concatenate_are_inverse():
    features = made_up()
    joined = concatenate_features([features.select([0]), features.select(slice(1, 3)), features.select([3])])
    assert joined.grid == (2, 3)
    for name, tensor in joined.tensors().items():
        assert torch.equal(tensor, features.tensors()[name])
    assert features.select([2, 0]).image_embedding[:, 0].tolist() == [2.0, 0.0]
    assert len(features.select([])) == 0


def test_parts_must_match():
    with pytest.raises(ValueError, match="different features"):
        concatenate_features([made_up(), Features(grid=(2, 3), image_embedding=torch.zeros(1, 2))])
    with pytest.raises(ValueError, match="no features"):
        concatenate_features([])
