"""The one table of features: what a method brings of its own goes through everything that reads the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vlmad_core.backbones import Feature, FeatureReader, FeatureRequest, Features, register_feature
from vlmad_core.backbones.feature_files import pack, read_file, to_bytes
from vlmad_core.backbones.features import FEATURES, passing_stages
from vlmad_core.errors import BackboneError


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
