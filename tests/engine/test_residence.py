"""Nothing falls back: every method on a device that allows no quiet copies, from pixels to what is stored."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.device import DEVICE, ElsewhereTensor, LeftDeviceError, moved, strict_device
from vlmad_core.backbones import ClipBackbone, Features, concatenate_features, load_backbone
from vlmad_core.backbones.devices import to_device, to_host
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureMemory
from vlmad_core.backbones.loading import BackboneSpec, Loader
from vlmad_core.backbones.text import TextCache
from vlmad_core.backbones.tower import Backbone, ImageInput
from vlmad_core.bench.subjects import random_parameters
from vlmad_core.engine import contents, extraction, runner
from vlmad_core.engine.evaluation import Evaluation, evaluate
from vlmad_core.engine.frozen import Backbones
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import Summary, run_plan
from vlmad_core.engine.session import Entrant, Scored, Session
from vlmad_core.methods import Method, create_method, list_methods, method_class
from vlmad_core.store.reader import open_store

METHODS = [
    create_method(f"{name}:{preset}")
    for name in list_methods()
    if method_class(name).own_backbone is None
    for preset in method_class(name).presets
]
CASES = [(method, shots) for method in METHODS for shots in (0, 4) if method.why_not_applicable(shots) is None]
CASES.append((create_method("april_gan", image_fusion="calibrated"), 4))


def pictures(count: int, seed: int) -> list[ImageInput]:
    pixels = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return [ImageInput(f"{seed}-{number}", lambda one=one: (one, (32, 32))) for number, one in enumerate(pixels)]


def judged(backbone: Backbone, method: Method, shots: int, parameters: dict[str, Tensor] | None) -> list[Scored]:
    """What a method says of five images in two batches, with four references, and why."""
    one = Entrant(method.id, method, "nut", shots, parameters, explains=True)
    session, further = Session(backbone), method.calibration_images(shots)

    def drawn(entrant: Entrant, request: Any) -> Features | None:
        return concatenate_features(session.encode(pictures(shots + further, 2), request)) if shots else None

    images = pictures(5, 1)
    return list(session.score([images[:3], images[3:]], [one], drawn))


close = partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)
"""What is asked of a card: rounding differs by the order of sums."""


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="module")
def elsewhere(tiny_clip: Path) -> ClipBackbone:
    backbone = moved(load_backbone(str(tiny_clip)))
    assert backbone.device == DEVICE
    return backbone


@pytest.mark.parametrize(("method", "shots"), CASES, ids=lambda one: getattr(one, "id", one))
@pytest.mark.parametrize("remembers", [False, True], ids=["plain", "remembering"])
def test_every_method_stays_on_the_device(clip, elsewhere, method, shots, remembers):
    parameters = random_parameters(method, clip)
    if parameters is not None and method.name == "april_gan":
        parameters |= {"stages": torch.tensor([1, 2]), "temperature": torch.tensor(0.02, dtype=torch.float64)}
    expected = judged(clip, method, shots, parameters)
    backbone = CachingBackbone(elsewhere, FeatureMemory(), TextCache()) if remembers else elsewhere
    with strict_device():
        found = judged(backbone, method, shots, parameters)
    assert [scored.error for scored in found] == [None] * len(expected)
    for here, there in zip(expected, found, strict=True):
        assert all(tensor.device == DEVICE for tensor in there.features.tensors().values())
        close(there.predictions.image_score, here.predictions.image_score)
        if here.predictions.grids is not None:
            close(there.predictions.grids, here.predictions.grids)
        assert [[(r.kind, r.towards) for r in image] for image in there.reasons] == [
            [(r.kind, r.towards) for r in image] for image in here.reasons
        ]
        values = [torch.tensor([r.value for image in scored.reasons for r in image]) for scored in (here, there)]
        close(values[1], values[0])


def test_a_whole_plan_stays_on_the_device(tiny_clip, tiny_dataset, tmp_path, monkeypatch, quick_disk):
    """Reading, references, passing, scoring, measuring speed, full-size maps: and the scores are the CPU's."""
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    methods = ["clip_cpe", "winclip", "patch_memory", "musc"]
    common = {"datasets": [str(data)], "backbone": str(tiny_clip), "threads": 1, "latency_images": 1, "batch_size": 4}

    def scores(store: str, loader: Loader) -> dict[str, pd.DataFrame]:
        values = {**common, "methods": methods, "shots": [0, 2], "store": tmp_path / store}
        plan = build_plan(make_options(values), backbones=Backbones(loader))
        with Reporter(0) as reporter:
            assert run_plan(plan, reporter).exit_code == 0
        made = open_store(tmp_path / store)
        assert all(unit.profile["speed"].get("batch_n") for run in made.runs for unit in run.units.values())
        return {run.key.method + str(run.key.shots): made.images(run.id, "bolt") for run in made.runs}

    expected = scores("here", BackboneSpec.load)
    # The stand-in is there for one thread only; a card is there for all.
    monkeypatch.setattr(extraction, "ahead", lambda items, work, *bounds: map(work, items))
    monkeypatch.setattr(contents, "MOST_EVALUATED", 1)
    with strict_device():
        found = scores("there", lambda spec: moved(load_backbone(spec.name)))
    assert len(found) == 5
    assert set(found) == set(expected)
    for run, images in found.items():
        np.testing.assert_allclose(images["score"], expected[run]["score"], atol=1e-4, rtol=1e-4)


def test_runs_evaluated_side_by_side_are_as_one_by_one(tiny_clip, tiny_dataset, tmp_path, content_of, monkeypatch):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    common = {"datasets": [str(data)], "backbone": str(tiny_clip), "threads": 1, "latency_images": 0}

    def done(store: str) -> Summary:
        values = {**common, "methods": ["clip_ac", "clip_cpe", "winclip", "musc"], "store": tmp_path / store}
        with Reporter(0) as reporter:
            return run_plan(build_plan(make_options(values)), reporter)

    assert done("alone").exit_code == 0
    monkeypatch.setattr(runner, "evaluated_at_once", lambda device: 3)
    began = time.perf_counter()
    summary = done("together")
    assert sum(summary.ledger.seconds.values()) <= time.perf_counter() - began  # no second is charged twice
    assert content_of(tmp_path / "together") == content_of(tmp_path / "alone")

    def failing(scored: Any, scores: Any, *rest: Any) -> Evaluation:
        if scores.run.method.name == "clip_cpe":
            raise MemoryError("made up")
        return evaluate(scored, scores, *rest)

    monkeypatch.setattr(contents, "evaluate", failing)
    failed = done("failing")
    assert [(unit.outcome, "made up" in str(unit.reason)) for unit in failed.troubled] == [("failed", True)]
    assert failed.count("computed") == 3


def test_the_device_of_tests_is_as_strict_as_a_card():
    with strict_device() as device:
        there = torch.arange(6, device=device).reshape(2, 3)
        assert isinstance(there * 2, ElsewhereTensor)
        for slip in (
            lambda: there.cpu(),
            lambda: float(there[0, 0]),
            lambda: bool((there > 1).all()),
            lambda: there + torch.ones(2, 3),
            lambda: there[torch.tensor([0])],
            lambda: there[there > 1],
            lambda: [int(value) for value in there[0]],
        ):
            with pytest.raises(LeftDeviceError):
                slip()
        assert torch.equal(to_host({"a": there})["a"], torch.arange(6).reshape(2, 3))
        assert to_device(torch.ones(2), device).device == DEVICE
