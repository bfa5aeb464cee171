from __future__ import annotations

import mmap
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.backbones import ClipBackbone, FeatureRequest, load_backbone
from vlmad_core.engine.flops import count_flops, product_speed
from vlmad_core.engine.profiling import PeakSampler, Stopwatch
from vlmad_core.engine.speed import Subject, measure_speed
from vlmad_core.engine.timing import timed_encode
from vlmad_core.methods import create_method


@pytest.fixture(scope="module")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> list[Path]:
    data = tiny_dataset(tmp_path_factory.mktemp("speed") / "widgets", categories=("bolt",))
    return sorted(data.glob("bolt/test/good/*.png"))


def tower_flops(tokens: int, depth: int, width: int, hidden: int) -> int:
    """Of the blocks of a transformer: four projections, two attention products, two layers of the perceptron."""
    return 2 * depth * (4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden)


def test_attention_counts():
    query = torch.randn(1, 2, 7, 16)
    assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * 2 * 2 * 7 * 7 * 16


def test_a_pass_counts_what_the_architecture_says(backbone):
    info = backbone.info
    pixels = torch.zeros(1, 3, 32, 32)
    patches = info.grid[0] * info.grid[1]
    embedding = 2 * patches * 3 * info.patch_size**2 * info.width
    projection = 2 * info.width * info.embed_dim
    whole = count_flops(lambda: backbone.encode_images(pixels, FeatureRequest(image_embedding=True)))
    assert whole == embedding + tower_flops(1 + patches, info.depth, info.width, 64) + projection
    windows = count_flops(lambda: backbone.encode_images(pixels, FeatureRequest(windows=frozenset({2}))))
    count = (info.grid[0] - 1) ** 2
    assert windows == embedding + count * (tower_flops(5, info.depth, info.width, 64) + projection)


def test_the_count_leaves_attention_as_it_was(backbone):
    pixels, request = torch.ones(1, 3, 32, 32), FeatureRequest(image_embedding=True)
    before = backbone.encode_images(pixels, request).image_embedding
    count_flops(lambda: backbone.encode_images(pixels, request))
    assert torch.equal(before, backbone.encode_images(pixels, request).image_embedding)


def test_the_tower_tells_windows_from_whole_images(backbone):
    pixels = torch.zeros(2, 3, 32, 32)
    watch = Stopwatch()
    timed_encode(backbone, pixels, FeatureRequest(image_embedding=True, windows=frozenset({2})), watch)
    assert set(watch.seconds()) == {"vision", "windows"}
    assert all(seconds > 0 for seconds in watch.seconds().values())
    watch = Stopwatch()
    timed_encode(backbone, pixels, FeatureRequest(image_embedding=True), watch)
    assert set(watch.seconds()) == {"vision"}


def test_a_method_alone(backbone, files):
    facts = measure_speed(Subject(create_method("winclip"), 0, backbone, "bolt"), files, images=5, batch=3, warm_up=1)
    one = facts["batch_1"]
    assert (one["images"], one["warm_up"]) == (5, 1)
    assert 0 < one["median_ms"] <= one["p95_ms"]
    assert one["processor_ms"] > 0
    assert set(facts["stages_ms"]) == {"read", "preprocess", "vision", "windows", "scoring", "upsampling"}
    assert facts["batch_n"]["batch"] == 3
    assert facts["batch_n"]["images_per_second"] == pytest.approx(3 / facts["batch_n"]["seconds"], rel=1e-3)
    plain = measure_speed(Subject(create_method("clip_ac"), 0, backbone, "bolt"), files, images=3, batch=2)
    assert facts["flops_per_image"] > plain["flops_per_image"] > 0
    assert facts["flops_text"] > plain["flops_text"] > 0  # hundreds of prompts against two
    assert "windows" not in plain["stages_ms"]
    assert facts["parameters"] == backbone.info.parameters > facts["parameters_vision"] > 0
    assert facts["peak_rss_bytes"] >= facts["extra_rss_bytes"] >= 0
    assert facts["peak_share"] > 0
    assert (facts["precision"], facts["threads"]) == ("float32", torch.get_num_threads())


def test_a_transductive_method_has_no_single_image(backbone, files):
    facts = measure_speed(Subject(create_method("musc"), 0, backbone, "bolt"), files, images=3, batch=4)
    assert facts["batch_1"] is None
    assert "against one another" in facts["reason"]
    assert facts["batch_n"]["images_per_second"] > 0
    assert facts["text_ms"] is facts["flops_text"] is None
    assert facts["flops_per_image"] > 0


def test_memory_is_watched_while_it_is_used():
    # The block comes from the system itself: an allocator may hand out again what a test before has freed.
    with PeakSampler(0.001) as memory, mmap.mmap(-1, 40 * 2**20) as block:
        block.write(bytes([1]) * (40 * 2**20))
        time.sleep(0.1)  # the watching thread must get its turn while the block is held
    assert memory.peak > memory.extra >= 30 * 2**20


def test_the_memory_of_another_process_is_watched_until_it_ends():
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other,
        PeakSampler(0.001, other.pid) as memory,
    ):
        other.communicate(b"\n")
    assert memory.peak > 2**20


def test_the_speed_of_products_is_positive_and_measured_once():
    first = product_speed("float32", side=64, seconds=0.0)
    assert first == product_speed("float32", side=64, seconds=0.0) > 0
