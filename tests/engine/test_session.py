"""The one way from images to predictions: one pass for all, each method's faults its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, concatenate_features, load_backbone
from vlmad_core.backbones.tower import ImageInput
from vlmad_core.engine.session import Entrant, Scored, Session, judge
from vlmad_core.methods import Predictions, create_method


class Watched:
    """A backbone that notes what passes it."""

    def __init__(self, inner: ClipBackbone) -> None:
        self.inner = inner
        self.passes: list[tuple[int, FeatureRequest]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_images(self, images: Any, request: FeatureRequest, clock: Any = None) -> Any:
        self.passes.append((len(images), request))
        return self.inner.encode_images(images, request, clock)


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture
def backbone(clip: ClipBackbone) -> Watched:
    return Watched(clip)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def inputs(pixels: Tensor) -> list[ImageInput]:
    return [ImageInput(str(number), lambda one=one: (one, (32, 32))) for number, one in enumerate(pixels)]


def entrant(name: str, shots: int = 0, **settings: Any) -> Entrant:
    return Entrant(name, create_method(name, **settings), "nut", shots)


def by_method(found: list[Scored]) -> dict[str, list[Scored]]:
    return {name: [one for one in found if one.entrant.id == name] for name in {one.entrant.id for one in found}}


def test_one_pass_per_batch_serves_everybody(backbone, clip, pixels):
    entrants = [entrant("clip_ac"), entrant("winclip"), entrant("musc"), entrant("patch_memory", 2)]
    session = Session(backbone)
    known = concatenate_features(session.encode(inputs(pixels[:2]), FeatureRequest(stages={1, 2})))
    batches = [inputs(pixels[:3]), inputs(pixels[3:])]
    found = by_method(list(session.score(iter(batches), entrants, lambda one, _: known if one.shots else None)))
    assert [count for count, _ in backbone.passes] == [1, 1, 3, 2]
    assert {name: len(parts) for name, parts in found.items()} == {
        "clip_ac": 2,
        "winclip": 2,
        "patch_memory": 2,
        "musc": 1,  # all images at once
    }
    for one in entrants:
        scorer = one.prepare(clip, known if one.shots else None)
        request = one.needs(clip.info)
        if one.transductive:
            parts = [clip.encode_images(pixels[:3], request), clip.encode_images(pixels[3:], request)]
            expected = [judge(scorer, concatenate_features(parts), together=True)]
        else:
            expected = [scorer.score(clip.encode_images(part, request)) for part in (pixels[:3], pixels[3:])]
        for scored, alone in zip(found[one.id], expected, strict=True):
            torch.testing.assert_close(scored.predictions.image_score, alone.image_score, atol=1e-6, rtol=1e-5)
    assert len(found["musc"][0].batch) == 5
    assert all(image.was_read and image.pass_seconds > 0 for image in found["musc"][0].batch)


def test_pixels_are_let_go_of_once_everybody_has_judged(backbone, pixels):
    read: list[int] = []

    def image() -> ImageInput:
        return ImageInput("any", lambda: (read.append(1), (pixels[0], (32, 32)))[1])

    batch = [image()]
    for scored in Session(backbone).score([batch], [entrant("clip_ac"), entrant("winclip")], soon=True):
        assert scored.batch[0].was_read
    assert len(read) == 1  # two passes, read once
    assert batch[0]._pixels is None


def test_soon_means_the_quick_ones_first_and_nothing_before_it_is_needed(backbone, pixels):
    asked: list[str] = []

    def references(one: Entrant, request: FeatureRequest) -> None:
        asked.append(one.id)

    entrants = [entrant("winclip"), entrant("clip_cpe")]
    results = Session(backbone).score([inputs(pixels[:1])], entrants, references, soon=True)
    assert next(results).entrant.id == "clip_cpe"
    assert asked == ["clip_cpe"]
    assert [request for _, request in backbone.passes] == [FeatureRequest(image_embedding=True, patch_embeddings=True)]
    last = next(results)
    assert (last.entrant.id, set(last.shared)) == ("winclip", {"vision", "windows"})
    assert list(results) == []
    backbone.passes.clear()
    everybody = Session(backbone).score([inputs(pixels[:1])], entrants)
    assert [one.entrant.id for one in everybody] == ["winclip", "clip_cpe"]
    assert len(backbone.passes) == 1


def test_a_fault_is_told_once_and_costs_nobody_else(backbone, pixels, monkeypatch):
    unfit, broken, deep, short = (entrant("clip_ac"), entrant("clip_cpe"), entrant("winclip"), entrant("patch_memory"))
    fine = Entrant("fine", create_method("clip_ac"), "nut")

    def fail(*_: object, **__: object) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(unfit.method, "prepare", fail)
    monkeypatch.setattr(deep.method, "needs", lambda *_: FeatureRequest(image_embedding=True, stages={99}))
    scorer = broken.prepare(backbone, None)
    monkeypatch.setattr(type(scorer), "score", lambda self, features: Predictions(torch.zeros(9)))
    monkeypatch.setattr(broken.method, "prepare", lambda *_, **__: scorer)
    monkeypatch.setattr(fine.method, "prepare", lambda *_, **__: Steady())
    batches = [inputs(pixels[:2]), inputs(pixels[2:])]
    found = by_method(list(Session(backbone).score(batches, [unfit, broken, deep, short, fine])))
    said = {name: [str(one.error) for one in parts] for name, parts in found.items()}
    assert said["clip_ac"] == ["a bug"]
    assert said["patch_memory"][0].startswith("The patch memory was given no reference images.")
    assert "gave (9,) scores for 2 images" in said["clip_cpe"][0]
    assert "Block 99" in said["winclip"][0]
    assert {name: len(parts) for name, parts in found.items()} == dict.fromkeys(said, 1) | {"fine": 2}
    assert said["fine"] == ["None", "None"]


class Steady:
    def score(self, features: Any) -> Predictions:
        return Predictions(features.image_embedding[:, 0])


def test_turns_last_for_one_pass_or_one_method(backbone, pixels):
    held: list[bool] = []

    @contextmanager
    def turn() -> Iterator[None]:
        assert not any(held), "a turn within a turn would never end"
        held.append(True)
        yield
        held[-1] = False

    known: list[Any] = []

    def references(one: Entrant, request: FeatureRequest) -> Any:
        known.extend(session.encode(inputs(pixels[:2]), request))
        return concatenate_features(known)

    session = Session(backbone, turn=turn)
    for _ in session.score([inputs(pixels[:1])], [entrant("patch_memory", 2)], references, soon=True):
        assert not any(held), "nobody waits while a result is looked at"
    assert len(held) == 5  # the image, two references, making ready, scoring
