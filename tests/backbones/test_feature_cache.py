from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features, concatenate_features, load_backbone
from vlmad_core.backbones.feature_cache import (
    CachingBackbone,
    FeatureFolder,
    content_key,
    feature_key,
    image_input,
)
from vlmad_core.backbones.feature_files import StoredImage, read_file, to_bytes
from vlmad_core.errors import BackboneError, DatasetError

EVERYTHING = FeatureRequest(
    image_embedding=True,
    class_projection=True,
    patch_tokens=True,
    patch_embeddings=True,
    stages=frozenset({1, 2}),
    windows=frozenset({2, 3}),
    value_paths=frozenset({(1, 2)}),
)


@pytest.fixture(scope="module")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths


class Counting:
    """A backbone that counts what passes."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.requests: list[FeatureRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_images(self, images: Any, request: FeatureRequest, clock: Any = None) -> Features:
        self.requests += [request] * len(images)
        return self.inner.encode_images(images, request, clock)


def passed(sources: list[Any], backbone: Any, request: FeatureRequest, cache: FeatureFolder | None) -> Features:
    """Features of images, as everybody gets them: opened for the backbone, and given to it together."""
    around = CachingBackbone(backbone, cache)
    return around.encode_images([image_input(source, around, request) for source in sources], request)


def same(first: Features, second: Features) -> bool:
    a, b = first.tensors(), second.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names_of_a_request_are_those_of_its_features(backbone, images):
    features = passed(images[:1], backbone, EVERYTHING, None)
    assert set(EVERYTHING.names()) == set(features.tensors())
    assert EVERYTHING.without(EVERYTHING.names()) == FeatureRequest()
    left = EVERYTHING.without({"stages.1", "value_paths.1.2", "image_embedding"})
    assert set(left.names()) == set(EVERYTHING.names()) - {"stages.1", "value_paths.1.2", "image_embedding"}
    assert same(Features.of_tensors(features.grid, features.tensors()), features)
    with pytest.raises(BackboneError, match="no feature 'colour'"):
        Features.of_tensors((4, 4), {"colour": torch.zeros(1, 2)})


@pytest.mark.parametrize("storage", ["half", "full"])
def test_what_is_read_back_is_what_was_computed(backbone, images, tmp_path, storage):
    cache = FeatureFolder(tmp_path / "cache", storage=storage)
    counting = Counting(backbone)
    first = passed(images, counting, EVERYTHING, cache)
    again = passed(images, counting, EVERYTHING, FeatureFolder(tmp_path / "cache", storage=storage))
    assert same(first, again)
    assert len(counting.requests) == len(images)
    exact = concatenate_features([passed([image], backbone, EVERYTHING, None) for image in images])
    for name, tensor in exact.tensors().items():
        stored = first.tensors()[name]
        if storage == "full" or name.startswith("stages"):
            assert torch.equal(stored, tensor)
        else:
            lengths = tensor.norm(dim=-1)
            assert torch.allclose(stored.norm(dim=-1), lengths, rtol=2e-3)
            # Half precision has 11 significant bits: no component of a unit vector moves by more than 2^-12.
            error = (stored - tensor).abs().amax(dim=-1) / lengths
            assert float(error.max()) <= 2**-12


def test_more_is_added_and_less_is_served(backbone, images, tmp_path):
    cache, counting = FeatureFolder(tmp_path / "cache"), Counting(backbone)
    passed(images, counting, FeatureRequest(image_embedding=True, stages=frozenset({2})), cache)
    everything = passed(images, counting, EVERYTHING, cache)
    assert counting.requests[-1] == EVERYTHING.without({"image_embedding", "stages.2"})
    count = len(counting.requests)
    less = passed(images, counting, FeatureRequest(stages=frozenset({1, 2})), cache)
    assert set(less.tensors()) == {"stages.1", "stages.2"}
    assert len(counting.requests) == count
    fresh = passed(images, backbone, EVERYTHING, FeatureFolder(tmp_path / "other"))
    assert same(everything, fresh)  # the same bits, whatever was asked for first


def test_the_content_of_an_image_counts_not_its_name(backbone, images, tmp_path):
    cache, counting = FeatureFolder(tmp_path / "cache"), Counting(backbone)
    request = FeatureRequest(image_embedding=True)
    passed(images[:1], counting, request, cache)
    copy = tmp_path / "copy.png"
    copy.write_bytes(images[0].read_bytes())
    passed([copy, images[0].read_bytes()], counting, request, cache)
    assert len(counting.requests) == 1
    picture = Image.open(images[0])
    passed([picture, picture.copy()], counting, request, cache)
    assert len(counting.requests) == 2
    copy.write_bytes(images[1].read_bytes())
    passed([copy], counting, request, cache)
    assert len(counting.requests) == 3


def test_everything_a_feature_depends_on_is_in_the_key(backbone, tiny_clip):
    plain = feature_key(backbone.info, "half")
    assert feature_key(load_backbone(str(tiny_clip)).info, "half") == plain
    others = [
        load_backbone(str(tiny_clip), image_size=64),
        load_backbone(str(tiny_clip), image_size=64, position_rule="bilinear"),
        load_backbone(str(tiny_clip), activation="quick_gelu"),
        load_backbone(str(tiny_clip), precision="bfloat16"),
    ]
    keys = {feature_key(other.info, "half") for other in others} | {feature_key(backbone.info, "full"), plain}
    assert len(keys) == 6


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign"])
def test_a_damaged_entry_is_computed_again_and_said(backbone, images, tmp_path, damage):
    said: list[str] = []
    cache = FeatureFolder(tmp_path / "cache", notice=said.append)
    first = passed(images, backbone, EVERYTHING, cache)
    path = cache.path(backbone.info, content_key(images[2]))
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes({"cut": content[:-9], "bit": content, "empty": b"", "foreign": b"not features"}[damage])
    again = passed(images, backbone, EVERYTHING, cache)
    assert same(first, again)
    assert len(said) == cache.damaged == 1
    assert path.name in said[0]
    assert same(first, passed(images, backbone, EVERYTHING, cache))
    assert cache.damaged == 1


def test_the_least_recently_used_go_first(backbone, images, tmp_path):
    request = FeatureRequest(image_embedding=True, patch_tokens=True)
    probe = FeatureFolder(tmp_path / "probe")
    passed(images[:1], backbone, request, probe)
    each = probe.filled_bytes()
    cache = FeatureFolder(tmp_path / "cache", limit_bytes=int(3.5 * each))
    for number, image in enumerate(images[:3]):
        passed([image], backbone, request, cache)
        os.utime(cache.path(backbone.info, content_key(image)), (number, number))
    passed(images[:1], backbone, request, cache)  # used last, though written first
    passed(images[3:], backbone, request, cache)
    assert cache.filled_bytes() <= cache.limit_bytes
    held = [cache.holds(backbone.info, content_key(image), request) for image in images]
    assert held == [True, False, True, True]


def test_a_bound_below_one_entry_stores_nothing_and_changes_nothing(backbone, images, tmp_path):
    plain = passed(images, backbone, EVERYTHING, FeatureFolder(tmp_path / "plain"))
    small = FeatureFolder(tmp_path / "small", limit_bytes=100)
    assert same(plain, passed(images, backbone, EVERYTHING, small))
    assert small.filled_bytes() == 0


def test_a_folder_that_can_not_be_written_to_costs_only_time(backbone, images, tmp_path):
    said: list[str] = []
    (tmp_path / "file").write_text("in the way")
    cache = FeatureFolder(tmp_path / "file", notice=said.append)
    plain = passed(images, backbone, EVERYTHING, FeatureFolder(tmp_path / "plain"))
    assert same(plain, passed(images, backbone, EVERYTHING, cache))
    assert len(said) == 1
    assert "goes on without" in said[0]


def test_threads_share_a_folder(backbone, images, tmp_path):
    expected = passed(images, backbone, EVERYTHING, FeatureFolder(tmp_path / "plain"))
    found: list[Features] = []

    def work(cache: FeatureFolder) -> None:
        found.append(passed(images, backbone, EVERYTHING, cache))

    shared = FeatureFolder(tmp_path / "cache")
    threads = [threading.Thread(target=work, args=(shared,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(same(expected, features) for features in found)
    assert shared.damaged == 0
    assert not list((tmp_path / "cache").rglob(".tmp-*"))


def test_two_processes_share_a_folder(backbone, images, tmp_path, tiny_clip):
    code = (
        "import sys; from pathlib import Path\n"
        "from vlmad_core.backbones import load_backbone, FeatureRequest\n"
        "from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder, image_input\n"
        "cache = FeatureFolder(Path(sys.argv[2]))\n"
        "backbone = CachingBackbone(load_backbone(sys.argv[1]), cache)\n"
        "for _ in range(3):\n"
        "    for request in (FeatureRequest(image_embedding=True), FeatureRequest(windows=frozenset({2}))):\n"
        "        images = [image_input(Path(p), backbone, request) for p in sys.argv[3:]]\n"
        "        backbone.encode_images(images, request)\n"
        "print(cache.damaged)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_clip), str(tmp_path / "cache"), *map(str, images)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in running] == ["0", "0"]
    assert [process.returncode for process in running] == [0, 0]
    request = FeatureRequest(image_embedding=True, windows=frozenset({2}))
    cache, counting = FeatureFolder(tmp_path / "cache"), Counting(backbone)
    features = passed(images, counting, request, cache)
    assert same(features, passed(images, backbone, request, FeatureFolder(tmp_path / "plain")))
    assert not list((tmp_path / "cache").rglob(".tmp-*"))


def test_a_file_replaced_while_it_is_read_is_not_damaged(tmp_path):
    path, embedding = tmp_path / "entry.safetensors", torch.arange(64.0)[None]
    for number, more in enumerate(({}, {"windows.2": torch.ones(1, 4000)})):
        stored = StoredImage({"image_embedding": embedding, **more}, (2, 2), (8, 8))
        (tmp_path / str(number)).write_bytes(to_bytes(stored))
    path.write_bytes((tmp_path / "0").read_bytes())
    code = (
        "import sys; from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "contents = [(folder / name).read_bytes() for name in '01']\n"
        "for number in range(3000):\n"
        "    (folder / 'new').write_bytes(contents[number % 2])\n"
        "    (folder / 'new').replace(folder / 'entry.safetensors')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as writer:
        while writer.poll() is None:
            stored = read_file(path, frozenset({"image_embedding"}))
            assert torch.equal(stored.tensors["image_embedding"], embedding)
    assert writer.returncode == 0


def test_leftovers_of_killed_processes_are_cleared(backbone, images, tmp_path):
    request = FeatureRequest(image_embedding=True)
    cache = FeatureFolder(tmp_path / "cache")
    passed(images[:1], backbone, request, cache)
    path = cache.path(backbone.info, content_key(images[0]))
    old, new = (path.with_name(f".tmp-{path.name}-1-{name}") for name in ("old", "new"))
    for leftover in (old, new):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    passed(images[1:2], backbone, request, FeatureFolder(tmp_path / "cache"))
    assert not old.exists()
    assert new.exists()


def test_an_unreadable_image_is_named(backbone, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for path in (broken, tmp_path / "missing.png"):
        with pytest.raises(DatasetError, match=path.name):
            passed([path], backbone, EVERYTHING, FeatureFolder(tmp_path / "cache"))


def test_an_unknown_storage_is_refused(tmp_path):
    with pytest.raises(BackboneError, match="no storage 'double'"):
        FeatureFolder(tmp_path, storage="double")  # type: ignore[arg-type]
