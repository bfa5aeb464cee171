"""Methods that take their time, so that a visitor can change his mind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from vlmad_core.methods import MethodCard, register_method
from vlmad_core.methods.clip_text import ClipAc, TextScorer

SECONDS = 1.5


class SlowScorer(TextScorer):
    """Sleeps before it scores."""

    def score(self, features):
        time.sleep(SECONDS)
        return super().score(features)


def slow_method(number: int) -> type[ClipAc]:
    title = f"Slow {number}"

    class Slow(ClipAc):
        name = f"slow_{number}"
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}}
        own_card = MethodCard(
            name=name,
            title=title,
            paper="",
            year=2026,
            url="",
            summary="Sleeps, then scores.",
            needs=("text",),
        )

        def prepare(self, *arguments, **named):
            scorer = super().prepare(*arguments, **named)
            return SlowScorer(scorer.text, scorer.settings)

    return register_method(Slow)


for number in (1, 2, 3):
    slow_method(number)
