"""Random parts of an ensemble, for the question how much chance in the wording matters.

A part is named ``<ensemble>~<states>x<templates>.<number>``, e.g. ``winclip~2x3.0``: two states of each class and
three templates, draw 0. The same name always means the same words, on every machine.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmad_core.prompts.ensemble import PromptEnsemble

NAME = re.compile(r"(?P<base>[^~]+)~(?P<states>\d{1,3})x(?P<templates>\d{1,3})\.(?P<number>\d{1,4})")


def sampled_ensemble(name: str, load: Callable[[str], PromptEnsemble]) -> PromptEnsemble | None:
    """The part of an ensemble that a name stands for; None if it is no such name.

    Where an ensemble has fewer states or templates than asked for, all of them are taken.

    Args:
        name: The name.
        load: Loads the ensemble it is a part of.
    """
    found = NAME.fullmatch(name)
    if found is None or min(int(found["states"]), int(found["templates"])) < 1:
        return None
    whole = load(found["base"])
    chance = random.Random(f"{whole.content_hash} {found['states']} {found['templates']} {found['number']}")

    def draw(phrases: Sequence[str], count: str) -> tuple[str, ...]:
        places = sorted(chance.sample(range(len(phrases)), min(int(count), len(phrases))))
        return tuple(phrases[place] for place in places)

    return replace(
        whole,
        name=name,
        title=f"{whole.title}, draw {found['number']} of {found['states']} x {found['templates']}",
        normal_states=draw(whole.normal_states, found["states"]),
        abnormal_states=draw(whole.abnormal_states, found["states"]),
        templates=draw(whole.templates, found["templates"]),
    )
