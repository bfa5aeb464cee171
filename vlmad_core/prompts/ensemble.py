"""Compositional prompt ensembles as data: states put into templates, every string shown in a yaml file."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, ValidationError

from vlmad_core.errors import VlmadError
from vlmad_core.io import LARGEST_YAML, parse_yaml
from vlmad_core.prompts.checks import PLACE, problem_of
from vlmad_core.prompts.places import ENSEMBLE_FOLDER, list_ensembles, saved_names, saved_path
from vlmad_core.reading import read_file
from vlmad_core.records import in_words, read_as

MAX_PROMPTS = 4096
SAMPLE_NAME = re.compile(r"(?P<base>[^~]+)~(?P<states>\d{1,3})x(?P<templates>\d{1,3})\.(?P<number>\d{1,4})")
"""``<ensemble>~<states>x<templates>.<number>``: a random part, to ask how much chance in the wording matters.

``winclip~2x3.0`` has two states of each class and three templates, draw 0. The same name always means the same words,
on every machine.
"""


def _cut(longest: int) -> BeforeValidator:
    """For texts about an ensemble on which nothing depends: anything is taken as text, and cut where it is long."""
    return BeforeValidator(lambda value: str(value)[:longest])


Words = Annotated[str, _cut(200)]


class PromptError(VlmadError):
    """A prompt ensemble is unknown or not well formed."""


@dataclass(frozen=True)
class Tuning:
    """On what an ensemble's words were chosen: judged on the same images, its results are better than it is.

    Attributes:
        dataset: Name of the data set.
        categories: Categories whose labels were looked at.
        how: ``by hand`` or ``greedy forward selection``.
        metric: The metric that was looked at.
    """

    dataset: Words
    categories: tuple[Words, ...]
    how: Words = ""
    metric: Words = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "categories": list(self.categories)}


@dataclass(frozen=True)
class PromptEnsemble:
    """States x templates, for normal and for abnormal (WinCLIP, section 3.1).

    Attributes:
        name: Identifier.
        title: How it is shown.
        source: Where its words come from.
        normal_states: Phrases with one ``{}`` for the category, e.g. ``flawless {}``.
        abnormal_states: The same for anomalous, e.g. ``{} with defect``.
        templates: Sentences with one ``{}`` for the state, e.g. ``a photo of a {}.``.
        tuned_on: On what its words were chosen; empty if on nothing that is known.
    """

    name: str
    title: Annotated[str, _cut(100)]
    source: Annotated[str, _cut(1000)]
    normal_states: tuple[str, ...]
    abnormal_states: tuple[str, ...]
    templates: tuple[str, ...]
    tuned_on: tuple[Tuning, ...] = ()

    def __post_init__(self) -> None:
        for field in ("normal_states", "abnormal_states", "templates"):
            phrases: Any = getattr(self, field)
            if not phrases:
                raise PromptError(f"The ensemble {self.name!r} has no {field}.", "Give at least one.")
            for phrase in phrases:
                problem = problem_of(phrase, "template" if field == "templates" else "state")
                if problem is not None:
                    shown = phrase if not isinstance(phrase, str) or len(phrase) <= 80 else phrase[:77] + "..."
                    raise PromptError(f"In {field} of the ensemble {self.name!r}, {shown!r} {problem}")
        if len(self.templates) * (len(self.normal_states) + len(self.abnormal_states)) > MAX_PROMPTS:
            raise PromptError(
                f"The ensemble {self.name!r} makes more than {MAX_PROMPTS} prompts.",
                "Use fewer states or templates.",
            )

    def normal_prompts(self, category: str) -> tuple[str, ...]:
        """All normal prompts for a category in words, template by template.

        >>> load_ensemble("single").normal_prompts("metal nut")
        ('normal metal nut',)
        """
        return self._compose(self.normal_states, category)

    def abnormal_prompts(self, category: str) -> tuple[str, ...]:
        """All abnormal prompts for a category in words, template by template."""
        return self._compose(self.abnormal_states, category)

    def _compose(self, states: Sequence[str], category: str) -> tuple[str, ...]:
        return tuple(compose(template, state, category) for template in self.templates for state in states)

    @property
    def count(self) -> int:
        """Number of prompts for one category."""
        return len(self.templates) * (len(self.normal_states) + len(self.abnormal_states))

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 over states and templates, in order; recorded with each run."""
        content = json.dumps([self.normal_states, self.abnormal_states, self.templates])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def same_words(self, other: PromptEnsemble) -> bool:
        """Whether the two make the same prompts in the same order."""
        return self.content_hash == other.content_hash


def compose(template: str, state: str, category: str) -> str:
    """One prompt: the category put into a state, and that into a template.

    >>> compose("a photo of a {}.", "flawless {}", "nut")
    'a photo of a flawless nut.'
    """
    # str.replace, not str.format: a category may hold braces of its own.
    return template.replace(PLACE, state.replace(PLACE, category))


def tuning_warning(ensemble: PromptEnsemble, datasets: Iterable[str], categories: Iterable[str]) -> str | None:
    """What must be said when an ensemble is judged on categories on which its words were chosen.

    Args:
        ensemble: The ensemble.
        datasets: Names of the data set it is judged on (its own and its official one).
        categories: The categories it is judged on.

    Returns:
        A sentence or two, or None if nothing of the kind is recorded.
    """
    names, judged = set(datasets), list(categories)
    seen: dict[str, None] = {}
    ways: dict[str, None] = {}
    for tuning in ensemble.tuned_on:
        if tuning.dataset in names:
            seen.update(dict.fromkeys(name for name in judged if name in tuning.categories))
            ways[tuning.how] = None
    if not seen:
        return None
    share = "all" if len(seen) == len(judged) else f"{len(seen)} of the {len(judged)}"
    return (
        f"The words of {ensemble.title} were chosen ({', '.join(ways)}) on {share} categories shown here. "
        "What they gain on these is partly fitted; judge them on others."
    )


@cache
def builtin_ensemble(name: str) -> PromptEnsemble:
    """One of the ensembles that come with the program; ``name`` must be in ``list_ensembles``."""
    return read_ensemble(ENSEMBLE_FOLDER / f"{name}.yaml")


def load_ensemble(name: str) -> PromptEnsemble:
    """Read an ensemble by name (the program's, saved by the user, or a random part of one), or from a yaml file.

    Raises:
        PromptError: If there is none of that name, or the file is not well formed.
    """
    if name in list_ensembles():
        return builtin_ensemble(name)
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return read_ensemble(path)
    if name in saved_names():
        return read_ensemble(saved_path(name))
    sample = sampled_ensemble(name, load_ensemble)
    if sample is not None:
        return sample
    saved = f"; saved: {', '.join(saved_names())}" if saved_names() else ""
    raise PromptError(
        f"There is no prompt ensemble {name!r}.",
        f"Known are: {', '.join(list_ensembles())}{saved}; or give the path of a yaml file.",
    )


def sampled_ensemble(name: str, load: Callable[[str], PromptEnsemble]) -> PromptEnsemble | None:
    """The part of an ensemble that a name stands for; None if it is no such name.

    Where an ensemble has fewer states or templates than asked for, all of them are taken.

    Args:
        name: The name.
        load: Loads the ensemble it is a part of.
    """
    found = SAMPLE_NAME.fullmatch(name)
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


def read_ensemble(path: Path) -> PromptEnsemble:
    """Read an ensemble from a yaml file.

    Raises:
        PromptError: If the file is not well formed.
    """
    content = read_file(path, LARGEST_YAML, PromptError, name=f"The prompt ensemble {path}")
    return parse_ensemble(content, path.stem, str(path))


def parse_ensemble(content: bytes | str, name: str, place: str) -> PromptEnsemble:
    """An ensemble from the text of a yaml file.

    Args:
        content: The file's content.
        name: What to call the ensemble.
        place: What to call the file in messages.

    Raises:
        PromptError: If it is not well formed.
    """
    place = f"The prompt ensemble {place}"
    needs = "It needs title, normal_states, abnormal_states and templates."
    raw = parse_yaml(content, place, PromptError)
    if not isinstance(raw, dict):
        raise PromptError(f"{place} holds no keys.", needs)
    try:
        known = {"source": "", **raw, "name": name, "tuned_on": raw.get("tuned_on") or ()}
        return read_as(PromptEnsemble, known)
    except ValidationError as error:
        raise PromptError(f"{place} can't be used: {in_words(error)}.", needs) from error


def to_yaml(ensemble: PromptEnsemble) -> str:
    """An ensemble as the text of a yaml file; ``parse_ensemble`` gives the same ensemble back."""
    plain: dict[str, Any] = {
        "title": ensemble.title,
        "source": ensemble.source,
        "normal_states": list(ensemble.normal_states),
        "abnormal_states": list(ensemble.abnormal_states),
        "templates": list(ensemble.templates),
    }
    if ensemble.tuned_on:
        plain["tuned_on"] = [tuning.to_json() for tuning in ensemble.tuned_on]
    head = "# Every string this ensemble is made of: each state, put into each template, with the category for {}.\n"
    return head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
