"""Several methods on an image: the quick ones first, each by itself if it must, references judged fairly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tests.device import moved, strict_device
from vlmad_core.backbones import FeatureRequest, load_backbone
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureMemory, image_input
from vlmad_core.backbones.text import TextCache
from vlmad_core.datasets.images import DEFAULT_LIMITS
from vlmad_core.errors import MethodError
from vlmad_core.inference.engine import Engine, Turns
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import MAP_SIZE, Panel
from vlmad_core.methods import anomaly_maps, create_method


def panel_of(engine: Engine, methods, references=(), category: str = "nut") -> Panel:
    return Panel(engine, category, choose_members(methods, engine.info, len(references)), references)


def test_results_are_those_of_the_methods_alone(engine: Engine, picture) -> None:
    image, references = picture(0, defect=True), [picture(1), picture(2)]
    found = {p.method_id: p for p in panel_of(engine, ["winclip", "clip_cpe", "patch_memory"], references).judge(image)}
    for name, prediction in found.items():
        method = create_method(name)
        request = method.needs(engine.info, prediction.shots)
        known = None
        if prediction.shots:
            pixels = engine.backbone.preprocess_batch([one.image for one in references])
            known = engine.backbone.encode_images(pixels, request)
        scorer = method.prepare("nut", engine.backbone, known)
        expected = scorer.score(engine.backbone.encode_images(engine.backbone.preprocess_batch([image.image]), request))
        assert prediction.image_score == pytest.approx(float(expected.image_score[0]), abs=2e-6)
        whole = anomaly_maps(expected.grids, expected.map_rule, (MAP_SIZE, MAP_SIZE))[0].numpy()
        assert np.abs(prediction.anomaly_map - whole).max() < 2e-5
        assert prediction.reasons


def test_on_a_device_only_results_come_back(tiny_clip, engine: Engine, picture) -> None:
    image, references = picture(0, defect=True), [picture(1), picture(2)]
    names = ["winclip", "clip_cpe", "patch_memory"]
    expected = list(panel_of(engine, names, references).judge(image))
    with strict_device():
        found = list(panel_of(Engine(moved(load_backbone(str(tiny_clip)))), names, references).judge(image))
    for there, here in zip(found, expected, strict=True):
        assert there.error is None
        assert there.image_score == pytest.approx(here.image_score, abs=1e-5)
        np.testing.assert_allclose(there.anomaly_map, here.anomaly_map, atol=1e-5)
        assert there.normals.scores == pytest.approx(here.normals.scores, abs=1e-5)
        assert len(there.reasons) == len(here.reasons)


def test_methods_without_windows_come_first(engine: Engine, picture) -> None:
    names = [p.method_id for p in panel_of(engine, ["winclip", "clip_ac", "clip_cpe"]).judge(picture(0))]
    assert names == ["clip_ac:canonical", "clip_cpe:canonical", "winclip:canonical"]


def test_the_first_results_do_not_wait_for_the_windows(engine: Engine, picture) -> None:
    memory = FeatureMemory()
    members = choose_members(["winclip", "clip_cpe"], engine.info, 0)
    image = picture(0)
    results = Panel(engine, "nut", members, (), memory).judge(image)

    def known() -> frozenset[str]:
        return memory.get(engine.info, f"pixels-{image.content}").names()

    assert next(results).method_id == "clip_cpe:canonical"
    assert known() == {"image_embedding", "patch_embeddings"}
    winclip = next(results)
    assert winclip.method_id == "winclip:canonical"
    assert {"windows.2", "windows.3"} < known()
    assert {"preprocess", "vision", "windows"} <= set(winclip.seconds)


def test_what_is_known_is_not_computed_again(engine: Engine, picture) -> None:
    panel = panel_of(engine, ["clip_ac", "clip_cpe"])
    assert [p.method_id for p in panel.judge(picture(0), skip={"clip_ac:canonical"})] == ["clip_cpe:canonical"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_method", "There is no method"),
        ("patch_memory", "Give at least one"),
        ("musc", "needs all test images of a set"),
        ("april_gan", "Train them: python -m vlmad_core train april_gan"),
        ("winclip:no_such_preset", "no preset"),
    ],
)
def test_a_method_that_can_not_take_part_says_why_and_stops_no_other(engine, picture, name: str, said: str) -> None:
    found = {p.method_id.partition(":")[0]: p for p in panel_of(engine, [name, "clip_ac"]).judge(picture(0))}
    assert said in found[name.partition(":")[0]].error
    assert found["clip_ac"].error is None


def test_a_method_that_breaks_stops_no_other(engine: Engine, picture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    method = create_method("clip_cpe")
    monkeypatch.setattr(method, "prepare", broken)
    first, second = panel_of(engine, [method, "clip_ac"]).judge(picture(0))
    assert "failed: RuntimeError: a bug" in first.error
    assert second.error is None


def test_a_method_that_asks_for_the_impossible_stops_no_other(engine: Engine, picture) -> None:
    huge = create_method("winclip", scales=(99,))
    fine = create_method("winclip", scales=(2,), temperature=0.05)
    fine.preset = "mine"
    deep = create_method("clip_cpe")
    deep.needs = lambda *_: FeatureRequest(image_embedding=True, patch_embeddings=True, stages=frozenset({99}))
    found = {p.method_id: p for p in panel_of(engine, [huge, fine, deep, "clip_ac"]).judge(picture(0))}
    assert "99 x 99" in found["winclip:canonical"].error
    assert "Block 99" in found["clip_cpe:canonical"].error
    assert found["winclip:mine"].error is None
    assert found["clip_ac:canonical"].error is None


def test_a_transductive_preset_is_named_with_references_only(engine: Engine) -> None:
    none, some = (choose_members(["april_gan:authors"], engine.info, shots)[0] for shots in (0, 2))
    assert "Train them" in none.error
    assert "needs all test images" in some.error


def test_references_are_judged_as_if_they_were_not_among_them(engine: Engine, picture) -> None:
    references = [picture(number) for number in (1, 2, 3)]
    found = {p.method_id.partition(":")[0]: p for p in panel_of(
        engine, ["clip_ac", "winclip", "patch_memory"], references).judge(picture(1))}  # fmt: skip
    assert found["patch_memory"].image_score < 1e-4, "an image that is in the memory is entirely familiar"
    assert min(found["patch_memory"].normals.scores) > 100 * found["patch_memory"].image_score
    assert found["winclip"].title == "WinCLIP+"
    for one in found.values():
        assert len(one.normals.scores) == 3
        assert "references" in one.seconds or one.method_id.startswith("clip_ac")
    assert found["clip_ac"].normals.maps == ()
    assert found["winclip"].normals.maps[0].shape == (64, 64)
    assert found["clip_ac"].normals.scores[0] == pytest.approx(found["clip_ac"].image_score, abs=1e-6)


def test_one_reference_gives_a_threshold_to_methods_without_a_memory_only(engine: Engine, picture) -> None:
    found = {p.method_id: p for p in panel_of(engine, ["clip_ac", "winclip"], [picture(1)]).judge(picture(0))}
    assert len(found["clip_ac:canonical"].normals.scores) == 1
    assert "give at least two" in found["winclip:canonical"].normals.reason


def test_the_nearest_reference_patch_is_found(engine: Engine, picture) -> None:
    references = [picture(1), picture(2)]
    (one,) = panel_of(engine, ["patch_memory"], references).judge(picture(2))
    assert one.nearest.grid == (4, 4)
    similarity, reference, row, column = one.nearest.of(3, 1)
    assert (reference, row, column) == (1, 3, 1)
    assert similarity == pytest.approx(1.0, abs=1e-5)


def test_none_and_too_many_methods_are_refused(engine: Engine) -> None:
    with pytest.raises(MethodError, match="No method"):
        choose_members([], engine.info, 0)
    many = [f"winclip:{number}" for number in range(DEFAULT_LIMITS.max_methods + 1)]
    with pytest.raises(MethodError, match="7 methods were chosen, more than the 6"):
        choose_members(many, engine.info, 0)
    assert len(choose_members(["clip_ac", "clip_ac"], engine.info, 0)) == 1


PATIENCE = 30.0


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class LoggedTurns(Turns):
    """Notes whose turn it is; the first turn lasts until a second visitor has queued up."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    @contextmanager
    def take(self) -> Iterator[None]:
        with super().take():
            self.log.append(threading.current_thread().name)
            if len(self.log) == 1:
                wait_until(lambda: len(self._queue) > 1)
            yield


def test_nobody_waits_for_longer_than_one_image_of_another(engine: Engine, picture) -> None:
    shared = Engine(engine.backbone)
    shared.turns = LoggedTurns()
    found: dict[str, list[float | None]] = {}

    def visit(name: str, category: str, numbers: range) -> None:
        members = choose_members(["clip_ac"], shared.info, 0)
        panel = Panel(shared, category, members)
        found[name] = [p.image_score for number in numbers for p in panel.judge(picture(number))]

    many = threading.Thread(target=visit, args=("many", "bolt", range(20)), name="many")
    one = threading.Thread(target=visit, args=("one", "felt", range(1)), name="one")
    many.start()
    wait_until(lambda: len(shared.turns.log) == 1)
    one.start()
    many.join(PATIENCE)
    one.join(PATIENCE)
    log = shared.turns.log
    first = log.index("one")
    assert log[:first].count("many") == 1, "the second visitor came next"
    last = len(log) - 1 - log[::-1].index("one")
    assert log[:last].count("many") <= 2 * log.count("one") + 1, "they took turns"
    alone = Panel(engine, "felt", choose_members(["clip_ac"], engine.info, 0))
    assert found["one"] == [next(alone.judge(picture(0))).image_score], "and each got the right answer"


def test_prompts_are_embedded_once(engine: Engine) -> None:
    class Counted:
        info = engine.info
        calls = 0

        def encode_text(self, prompts):
            self.calls += 1
            return engine.backbone.encode_text(prompts)

    counted, texts = Counted(), TextCache(most=16)
    text, other = (CachingBackbone(counted, texts=texts) for _ in range(2))  # type: ignore[arg-type]
    first, again = text.encode_text(["a", "b"]), other.encode_text(["a", "b"])
    assert counted.calls == 1
    assert torch.equal(first, again)
    assert torch.equal(first, engine.backbone.encode_text(["a", "b"]))
    again += 1.0  # what one method does to its copy is nobody else's affair
    assert torch.equal(first, text.encode_text(["a", "b"]))
    for number in range(40):
        text.encode_text([str(number)])
    assert len(texts) == 16


def test_features_in_parts_are_those_of_one_pass(engine: Engine, picture) -> None:
    request = FeatureRequest(image_embedding=True, stages=frozenset({2}), windows=frozenset({2, 3}))
    memory = FeatureMemory(most=3)
    remembering = CachingBackbone(engine.backbone, memory)
    image = image_input(picture(0).image, remembering, request)
    remembering.encode_images([image], request.soon())
    found = remembering.encode_images([image], request)
    whole = engine.backbone.encode_images(engine.backbone.preprocess_batch([picture(0).image]), request)
    assert found.tensors().keys() == whole.tensors().keys()
    for name, tensor in whole.tensors().items():
        assert torch.equal(found.tensors()[name], tensor), name
    again = image_input(picture(0).image, remembering, request)
    assert remembering.encode_images([again], request).windows[2] is found.windows[2], "kept"
    assert not again.was_read
    for number in range(1, 4):
        remembering.encode_images([image_input(picture(number).image, remembering, request)], request)
    assert len(memory) == 3
