"""The one table of features: what a method brings of its own goes through everything that reads the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vlmad_core.backbones import (
    Feature,
    FeatureReader,
    FeatureRequest,
    Features,
    concatenate_features,
    register_feature,
)
from vlmad_core.backbones.feature_files import pack, read_file, to_bytes
from vlmad_core.backbones.features import FEATURES, passing_stages
from vlmad_core.errors import BackboneError


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
    assert both.names() == first.names() | second.names() == {"image_embedding", "stages.1", "stages.2", "windows.3"}
    assert first | FeatureRequest() == first


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


class Echo(FeatureReader):
    """Every patch's first two numbers as they enter the tower, times the key."""

    def __init__(self, tower, keys):
        self.tower, self.keys = tower, keys

    def tensors(self):
        return {key: key * self.tower.tokens[:, 1:, :2] for key in self.keys}


@pytest.fixture
def echo() -> Iterator[Feature]:
    made = Feature("echo", Echo, lambda grid, key: grid[0] * grid[1], width=2, numbers=1, expensive=True)
    yield register_feature(made)
    del FEATURES["echo"]


def test_a_new_feature_needs_one_entry(echo, backbone, pixels, tmp_path: Path):
    request = FeatureRequest(image_embedding=True, echo={1, 3})
    assert request.names() == {"image_embedding", "echo.1", "echo.3"}
    assert (request.echo, request.soon()) == ({1, 3}, FeatureRequest(image_embedding=True))
    assert passing_stages() == ("vision", "windows", "echo")
    told: list[str] = []
    found = backbone.encode_images(pixels, request, lambda stage, seconds: told.append(stage))
    assert told == ["echo", "vision"]
    assert torch.equal(found.echo[3], 3 * found.echo[1])
    assert torch.equal(found.only(FeatureRequest(echo={3})).select([1]).echo[3], found.echo[3][1:2])
    one = found.select([0])
    assert request.bytes_per_image(backbone.info) == sum(tensor.nbytes for tensor in one.tensors().values())
    (tmp_path / "entry").write_bytes(to_bytes(pack(one, (8, 8), "half")))
    again = read_file(tmp_path / "entry", request.names()).features()
    torch.testing.assert_close(again.echo[3], one.echo[3], atol=2e-3, rtol=2e-3)
    assert read_file(tmp_path / "entry").tensors["echo.3"].dtype == torch.float16


@pytest.mark.parametrize("name", FEATURES)
def test_the_table_tells_the_size_of_each_feature(backbone, pixels, name):
    key = {0: True, 1: {2}, 2: {(1, 2)}}[FEATURES[name].numbers]
    request = FeatureRequest(**{name: key})
    found = backbone.encode_images(pixels, request).select([0])
    assert request.bytes_per_image(backbone.info) == sum(tensor.nbytes for tensor in found.tensors().values())


def test_what_is_no_feature_is_named(echo):
    with pytest.raises(BackboneError, match=r"no feature 'colour'.*image_embedding"):
        FeatureRequest(colour=True)
    with pytest.raises(BackboneError, match=r"\(1, 2\) is no key of the feature stages.*1 whole number"):
        FeatureRequest(stages={(1, 2)})
    with pytest.raises(BackboneError, match="None is no key of the feature stages"):
        FeatureRequest(stages=True)
    with pytest.raises(AttributeError, match="no feature 'colour'"):
        _ = Features((2, 2)).colour
    with pytest.raises(BackboneError, match="a feature 'echo' already"):
        register_feature(Feature("echo", Echo, lambda grid, key: 1, width=2))
    for name in ("tensors", "two words", "names"):
        with pytest.raises(BackboneError, match="can't be called"):
            register_feature(Feature(name, Echo, lambda grid, key: 1, width=2))
