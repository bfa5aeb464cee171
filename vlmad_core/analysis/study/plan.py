"""The study's plan as data (``plan.yaml``): variants of methods, and the comparisons that answer each question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from vlmad_core.errors import VlmadError

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
    shots: int = 0
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
        sizes: (states, templates) of the sub-ensembles.
    """

    name: str
    ask: str
    metric: str
    full: str
    sizes: tuple[tuple[int, int], ...]


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


@dataclass(frozen=True)
class Question:
    """One of the six questions.

    Attributes:
        name: Identifier.
        title: Its subject.
        ask: The question in words.
        parts: What answers it, the most telling first.
        papers: Which reported numbers stand beside it: method_id and shots.
    """

    name: str
    title: str
    ask: str
    parts: tuple[Part, ...]
    papers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StudyPlan:
    """Everything the study runs and asks.

    Attributes:
        variants: By name.
        questions: In order.
        shots: Numbers of references at which few-shot methods are run.
        seeds: Draws of the references.
        maps: For which methods maps are kept, with how many references.
    """

    variants: Mapping[str, Variant]
    questions: tuple[Question, ...]
    shots: tuple[int, ...]
    seeds: int
    maps: Mapping[str, tuple[int, ...]]


@cache
def study_plan(path: Path = PLAN) -> StudyPlan:
    """Read the plan.

    Raises:
        StudyError: If it is not well formed; names what.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        samples = raw["samples"]
        sizes = tuple((int(s), int(t)) for s, t in samples["sizes"])
        variants = {name: Variant(name=name, **entry) for name, entry in raw["variants"].items()}
        variants |= _samples(samples, sizes)
        questions = tuple(_question(entry, sizes) for entry in raw["questions"])
        maps = {str(method): tuple(shots) for method, shots in raw["maps"].items()}
        plan = StudyPlan(variants, questions, tuple(raw["shots"]), int(raw["seeds"]), maps)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(
            f"The study's plan {path} can't be read: {type(error).__name__} {error}.", "Compare it with the original."
        ) from error
    for question in questions:
        for part in question.parts:
            _check(part, variants, path)
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


def _samples(entry: Mapping[str, Any], sizes: tuple[tuple[int, int], ...]) -> dict[str, Variant]:
    found = {}
    for states, templates in sizes:
        for number in range(entry["draws"]):
            name = f"words_{states}x{templates}_{number}"
            found[name] = Variant(
                name,
                entry["method"],
                f"{states} x {templates} prompts, draw {number + 1}",
                {"ensemble": f"{entry['ensemble']}~{states}x{templates}.{number}", "patch_map": False},
                draw=(states, templates, number),
            )
    return found


def _question(entry: Mapping[str, Any], sizes: tuple[tuple[int, int], ...]) -> Question:
    parts: list[Part] = []
    for one in entry.get("comparisons", ()):
        lists = {name: tuple(one.get(name, ())) for name in ("variants", "contaminated")}
        parts.append(Contrast(**{**one, **lists}))
    parts += [Spread(one["name"], one["ask"], one["metric"], one["full"], sizes) for one in entry.get("spreads", ())]
    parts += [Ladder(**one) for one in entry.get("ladders", ())]
    parts += [CostQuestion(**one) for one in entry.get("costs", ())]
    papers = tuple((one["method_id"], int(one["shots"])) for one in entry.get("papers", ()))
    return Question(entry["name"], entry["title"], entry["ask"], tuple(parts), papers)


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
