from __future__ import annotations

import mmap
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vlmad_core.backbones import ClipBackbone, FeatureRequest, load_backbone
from vlmad_core.engine import speed
from vlmad_core.engine.profiling import PeakSampler, Stopwatch
from vlmad_core.engine.session import Entrant
from vlmad_core.engine.speed import SpeedBook, Subject, measure_speed
from vlmad_core.methods import create_method


@pytest.fixture(scope="module")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> list[Path]:
    data = tiny_dataset(tmp_path_factory.mktemp("speed") / "widgets", categories=("bolt",))
    return sorted(data.glob("bolt/test/good/*.png"))


def subject(name: str, backbone: ClipBackbone) -> Subject:
    return Subject(Entrant(name, create_method(name), "bolt"), backbone)


def test_the_tower_tells_windows_from_whole_images(backbone):
    pixels = torch.zeros(2, 3, 32, 32)
    watch = Stopwatch()
    backbone.encode_images(pixels, FeatureRequest(image_embedding=True, windows=frozenset({2})), watch.add)
    assert set(watch.seconds()) == {"vision", "windows"}
    assert all(seconds > 0 for seconds in watch.seconds().values())
    watch = Stopwatch()
    backbone.encode_images(pixels, FeatureRequest(image_embedding=True), watch.add)
    assert set(watch.seconds()) == {"vision"}


def test_a_method_alone(backbone, files):
    facts = measure_speed(subject("winclip", backbone), files, images=5, batch=3, warm_up=1)
    one = facts["batch_1"]
    assert (one["images"], one["warm_up"]) == (5, 1)
    assert 0 < one["median_ms"] <= one["p95_ms"]
    assert one["processor_ms"] > 0
    assert set(facts["stages_ms"]) == {"read", "preprocess", "vision", "windows", "scoring", "upsampling"}
    assert facts["batch_n"]["batch"] == 3
    assert facts["batch_n"]["images_per_second"] == pytest.approx(3 / facts["batch_n"]["seconds"], rel=1e-3)
    plain = measure_speed(subject("clip_ac", backbone), files, images=3, batch=2)
    assert facts["flops_per_image"] > plain["flops_per_image"] > 0
    assert facts["flops_text"] > plain["flops_text"] > 0  # hundreds of prompts against two
    assert "windows" not in plain["stages_ms"]
    assert facts["parameters"] == backbone.info.parameters > facts["parameters_vision"] > 0
    assert facts["peak_rss_bytes"] >= facts["extra_rss_bytes"] >= 0
    assert facts["peak_share"] > 0
    assert (facts["precision"], facts["threads"]) == ("float32", torch.get_num_threads())


def test_a_transductive_method_has_no_single_image(backbone, files):
    facts = measure_speed(subject("musc", backbone), files, images=3, batch=4)
    assert facts["batch_1"] is None
    assert "against one another" in facts["reason"]
    assert facts["batch_n"]["images_per_second"] > 0
    assert facts["text_ms"] is facts["flops_text"] is None
    assert facts["flops_per_image"] > 0


def test_a_pass_is_counted_once_for_all_methods_that_share_it(backbone, files, monkeypatch):
    counted, count = [], speed.count_flops
    monkeypatch.setattr(speed, "count_flops", lambda work: counted.append(work) or count(work))
    book = SpeedBook()
    facts = [
        measure_speed(subject(name, backbone), files, images=3, batch=2, book=book)
        for name in ("clip_ac", "winclip", "winclip:accurate")
    ]
    assert len(counted) == 8  # two passes, three times scoring, three times prompts
    assert facts[0]["flops_per_image"] < facts[1]["flops_per_image"] == facts[2]["flops_per_image"]
    alone = measure_speed(subject("winclip:accurate", backbone), files, images=3, batch=2)
    assert alone["flops_per_image"] == facts[2]["flops_per_image"]


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


def test_what_is_slow_is_timed_on_fewer_images(backbone, files, monkeypatch):
    monkeypatch.setattr(speed, "MOST_SECONDS", 1e-9)
    facts = measure_speed(subject("clip_ac", backbone), files, images=8, batch=8)
    assert facts["batch_1"]["images"] == speed.LEAST_IMAGES
    assert facts["batch_n"]["batch"] == speed.LEAST_BATCH
