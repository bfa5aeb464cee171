"""Turns among visitors, and what they share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureMemory, image_input
from vlmad_core.backbones.text import TextCache
from vlmad_core.live.engine import Engine, Turns
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import Panel

PATIENCE = 30.0


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_are_given_first_come_first_served() -> None:
    turns, order = Turns(), []

    def visit(name: str) -> None:
        with turns.take():
            order.append(name)

    threads = [threading.Thread(target=visit, args=(name,)) for name in "abcd"]
    with turns.take():
        for number, thread in enumerate(threads, start=2):
            thread.start()
            wait_until(lambda n=number: len(turns._queue) == n)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list("abcd")


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError), turns.take():
        raise RuntimeError
    with turns.take():
        pass


def test_a_visitor_who_leaves_the_queue_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with turns.take():
        with monkeypatch.context() as patch:
            patch.setattr(turns._changed, "wait_for", interrupted)
            with pytest.raises(KeyboardInterrupt), turns.take():
                pass
        assert len(turns._queue) == 1
    with turns.take():
        pass


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
