"""What a reader must know of a line before he believes its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from vlmad_core.analysis.comparison import Line, training_data
from vlmad_core.analysis.contamination import Contamination, run_contamination
from vlmad_core.errors import VlmadError

SEEN: Mapping[str, str] = {"clean": "no", "contaminated": "yes", "unknown": "not recorded"}
"""The verdicts as an answer to: was this data set seen in training?"""

_WORST = ("contaminated", "unknown", "clean")


@dataclass(frozen=True)
class LineNotes:
    """What to know of a line.

    Attributes:
        contamination: Whether its data set was seen in training; of several seeds, the worst verdict.
        trained_on: Data sets its own parameters were trained on; empty if it has none.
        transductive: Whether its scores depend on the other test images.
        vision_language: Whether it works on a vision-language backbone.
    """

    contamination: Contamination
    trained_on: tuple[str, ...]
    transductive: bool
    vision_language: bool

    @property
    def seen(self) -> str:
        """``no``, ``yes`` or ``not recorded``."""
        return SEEN[self.contamination.verdict]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Each in a few words; empty where there is nothing to say."""
        said = []
        if not self.vision_language:
            said.append("no vision-language model")
        if self.transductive:
            said.append("all test images at once")
        if self.trained_on:
            said.append(f"trained on {', '.join(self.trained_on)}")
        return tuple(said)


def line_notes(line: Line) -> LineNotes:
    """What to know of a line, from the records of its runs."""
    verdicts = [run_contamination(run) for run in line.runs]
    worst = min(verdicts, key=lambda one: _WORST.index(one.verdict))
    return LineNotes(
        contamination=worst,
        trained_on=tuple(sorted({name for run in line.runs for name in training_data(run)})),
        transductive=any(bool(run.protocol.method.get("transductive")) for run in line.runs),
        vision_language=is_vision_language(line.method),
    )


@cache
def is_vision_language(method: str) -> bool:
    """Whether a method works on a vision-language backbone; one that is not installed is taken to."""
    from vlmad_core.methods import create_method

    try:
        return create_method(method).capabilities.vision_language
    except VlmadError:
        return True
