from __future__ import annotations

import time

import pytest
import torch

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.arithmetic import CPU
from vlmad_core.bench import architectures
from vlmad_core.bench.architectures import Architecture, random_backbone
from vlmad_core.bench.passes import Rate, best_of, plain_forward, rates_of

TINY = Architecture(32, 8, 64, 4, 64, 32, "gelu")


def test_the_best_batch_is_found_and_memory_that_runs_out_halves_it() -> None:
    met: list[int] = []

    def work(batch: int) -> None:
        met.append(batch)
        if batch > 10:
            raise torch.OutOfMemoryError("out of memory")

    rates = rates_of(work, (4, 24, 48), CPU, seconds=0.0)
    assert [(rate.batch, rate.seconds is None) for rate in rates] == [(4, False), (6, False), (12, True), (24, True)]
    assert 48 not in met
    assert best_of(rates).seconds is not None


def test_what_else_goes_wrong_is_not_taken_for_memory() -> None:
    def work(batch: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        rates_of(work, (2,), CPU)


def test_larger_batches_that_are_slower_are_not_tried() -> None:
    met: set[int] = set()

    def work(batch: int) -> None:
        met.add(batch)
        time.sleep(0.001 if batch == 1 else 0.02)

    rates = rates_of(work, (1, 2, 4), CPU, seconds=0.0)
    assert [rate.batch for rate in rates] == [1, 2]
    assert met == {1, 2}
    assert best_of(rates).batch == 1


def test_nothing_fits() -> None:
    def work(batch: int) -> None:
        raise MemoryError

    assert best_of(rates_of(work, (2,), CPU)).to_json() == {"batch": 1, "images_per_second": None, "seconds": None}
    assert Rate(8, 2.0).to_json() == {"batch": 8, "images_per_second": 4.0, "seconds": 2.0}


def test_a_plain_forward_keeps_what_the_features_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", TINY)
    backbone = random_backbone("tiny")
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    request = FeatureRequest(image_embedding=True, stages=frozenset({2, 4}), windows=frozenset({2}))
    features = backbone.encode_images(pixels, request)
    second, last, embedding, windows = plain_forward(backbone, request)(pixels)
    torch.testing.assert_close(second, features.stages[2])
    torch.testing.assert_close(last, features.stages[4])
    torch.testing.assert_close(embedding, features.image_embedding)
    torch.testing.assert_close(windows.reshape(2, -1, 32), features.windows[2])
