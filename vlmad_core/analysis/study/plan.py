"""The study's plan as data (``plan.yaml``): variants of methods, and the comparisons that answer each question."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, ConfigDict, ValidationError, with_config

from vlmad_core.errors import VlmadError
from vlmad_core.io import read_yaml
from vlmad_core.records import Count, in_words, read_as

PLAN = Path(__file__).with_name("plan.yaml")

PREFIX = "study."
"""What the presets of ablations begin with, so that they are never taken for a method's own."""


class StudyError(VlmadError):
    """The study's plan is not well formed, or can't be carried out."""


@dataclass(frozen=True)
class Variant:
    """A method as the study compares it.

    Attributes:
        name: Identifier within the study.
        method: Name of the method.
        label: How it is shown, in a few words.
        settings: What differs from the preset; blocks may be named by quarters (see ``resolve``).
        preset: The method's preset it starts from.
        shots: Normal references per category.
        trained: ``within``: with parameters that were trained on the data set it is judged on.
        draw: For random sub-ensembles: (states, templates, number of the draw).
    """

    name: str
    method: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "canonical"
    shots: Count = 0
    trained: Literal["within"] | None = None
    draw: tuple[int, int, int] | None = None

    @property
    def is_ablation(self) -> bool:
        """Whether it differs from the method as it comes; ablations stand in the study's own store."""
        return bool(self.settings)

    @property
    def stored_preset(self) -> str:
        """The preset under which its runs are stored."""
        return f"{PREFIX}{self.name}" if self.is_ablation else self.preset


@dataclass(frozen=True)
class Contrast:
    """Variants held against one of them.

    Attributes:
        name: Identifier.
        ask: The question in words.
        metric: Name of the metric.
        base: The variant the others are held against.
        variants: All of them, the base included.
        contaminated: Those that were trained on what they are judged on.
    """

    name: str
    ask: str
    metric: str
    base: str
    variants: tuple[str, ...]
    contaminated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """Random sub-ensembles of growing size against the full one.

    Attributes:
        name: Identifier.
        ask: The question in words.
        metric: Name of the metric.
        full: The variant with the full ensemble.
        of: What draws them: the plan's samples.
    """

    name: str
    ask: str
    metric: str
    full: str
    of: Literal["samples"] = "samples"


@dataclass(frozen=True)
class Ladder:
    """A method with more and more references.

    Attributes:
        name: Identifier.
        ask: The question in words.
        method: Name of the method.
        metric: Name of the metric.
    """

    name: str
    ask: str
    method: str
    metric: str


@dataclass(frozen=True)
class CostQuestion:
    """Accuracy against latency, over everything the study ran.

    Attributes:
        name: Identifier.
        ask: The question in words.
        metric: Name of the metric.
    """

    name: str
    ask: str
    metric: str


Part = Contrast | Spread | Ladder | CostQuestion


class Paper(NamedTuple):
    """Whose reported numbers stand beside a question."""

    method_id: str
    shots: int


@dataclass(frozen=True)
class Question:
    """One of the six questions.

    Attributes:
        name: Identifier.
        title: Its subject.
        ask: The question in words.
        comparisons: What answers it, the most telling first; then
        spreads: likewise,
        ladders: likewise, and
        costs: likewise.
        papers: Which reported numbers stand beside it.
    """

    name: str
    title: str
    ask: str
    comparisons: tuple[Contrast, ...] = ()
    spreads: tuple[Spread, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    costs: tuple[CostQuestion, ...] = ()
    papers: tuple[Paper, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that answers it."""
        return (*self.comparisons, *self.spreads, *self.ladders, *self.costs)


@dataclass(frozen=True)
class Samples:
    """Random sub-ensembles, each of which becomes a variant.

    Attributes:
        method: Name of the method.
        ensemble: The ensemble they are drawn from.
        sizes: (states, templates) of each.
        draws: How many of each size.
    """

    method: str
    ensemble: str
    sizes: tuple[tuple[Count, Count], ...]
    draws: Count

    def variants(self) -> dict[str, Variant]:
        """The variants by name."""
        found = {}
        for states, templates in self.sizes:
            for number in range(self.draws):
                name = f"words_{states}x{templates}_{number}"
                found[name] = Variant(
                    name,
                    self.method,
                    f"{states} x {templates} prompts, draw {number + 1}",
                    {"ensemble": f"{self.ensemble}~{states}x{templates}.{number}", "patch_map": False},
                    draw=(states, templates, number),
                )
        return found


def _with_names(value: Any) -> Any:
    """Variants as the file has them, each with its name."""
    if not isinstance(value, dict):
        return value
    return {name: {"name": name, **own} if isinstance(own, dict) else own for name, own in value.items()}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class StudyPlan:
    """Everything the study runs and asks; the keys of ``plan.yaml``.

    Attributes:
        variants: By name; those of the samples come to them.
        samples: Random sub-ensembles.
        questions: In order.
        shots: Numbers of references at which few-shot methods are run.
        seeds: Draws of the references.
        maps: Numbers of references at which methods keep their maps, of the first draw.
    """

    variants: Annotated[Mapping[str, Variant], BeforeValidator(_with_names)]
    samples: Samples
    questions: tuple[Question, ...]
    shots: tuple[Count, ...]
    seeds: Count
    maps: tuple[Count, ...]


@cache
def study_plan(path: Path = PLAN) -> StudyPlan:
    """Read the plan.

    Raises:
        StudyError: If it is not well formed; names what.
    """
    try:
        plan = read_as(StudyPlan, read_yaml(path, StudyError))
    except ValidationError as error:
        raise StudyError(
            f"The study's plan {path} can't be used: {in_words(error)}.", "Compare it with the original."
        ) from error
    plan = dataclasses.replace(plan, variants={**plan.variants, **plan.samples.variants()})
    for question in plan.questions:
        for part in question.parts:
            _check(part, plan.variants, path)
    return plan


def resolve(settings: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Settings with blocks for a tower of that depth instead of quarters.

    >>> resolve({"stages": {"quarters": [1, 4]}, "value_start": "after_last_block", "scales": [2]}, 6)
    {'stages': (2, 6), 'value_start': 7, 'scales': (2,)}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and set(value) == {"quarters"}:
            found[name] = tuple(sorted({-(-depth * quarter // 4) for quarter in value["quarters"]}))
        elif value == "after_last_block":
            found[name] = depth + 1
        else:
            found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _check(part: Part, variants: Mapping[str, Variant], path: Path) -> None:
    if isinstance(part, Contrast):
        named = (part.base, *part.variants, *part.contaminated)
        if part.base not in part.variants:
            raise StudyError(f"In {path}, {part.name!r} lacks its own base {part.base!r}.", "Add it to its variants.")
    else:
        named = (part.full,) if isinstance(part, Spread) else ()
    unknown = sorted(set(named) - set(variants))
    if unknown:
        raise StudyError(f"In {path}, {part.name!r} names {unknown[0]!r}, which is no variant.", "Add it, or correct.")
