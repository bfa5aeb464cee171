"""Compositional prompt ensembles as data: states put into templates, every string shown in a yaml file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vlmad_core.errors import VlmadError

ENSEMBLE_FOLDER = Path(__file__).parent / "ensembles"
MAX_PROMPTS = 4096
PLACE = "{}"


class PromptError(VlmadError):
    """A prompt ensemble is unknown or not well formed."""


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
    """

    name: str
    title: str
    source: str
    normal_states: tuple[str, ...]
    abnormal_states: tuple[str, ...]
    templates: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in ("normal_states", "abnormal_states", "templates"):
            phrases: Any = getattr(self, field)
            if not phrases:
                raise PromptError(f"The ensemble {self.name!r} has no {field}.", "Give at least one.")
            for phrase in phrases:
                if not isinstance(phrase, str) or phrase.count(PLACE) != 1:
                    raise PromptError(
                        f"In {field} of the ensemble {self.name!r}, {phrase!r} has not exactly one {PLACE}.",
                        f"Write {PLACE} where the {'state' if field == 'templates' else 'category'} goes.",
                    )
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
        # str.replace, not str.format: a category may hold braces of its own.
        return tuple(
            template.replace(PLACE, state.replace(PLACE, category)) for template in self.templates for state in states
        )

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 over states and templates, in order; recorded with each run."""
        content = json.dumps([self.normal_states, self.abnormal_states, self.templates])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def list_ensembles() -> tuple[str, ...]:
    """Names of the ensembles that come with the program."""
    return tuple(sorted(path.stem for path in ENSEMBLE_FOLDER.glob("*.yaml")))


@cache
def load_ensemble(name: str) -> PromptEnsemble:
    """Read an ensemble by name, or from a yaml file of one's own by its path.

    Raises:
        PromptError: If there is none of that name, or the file is not well formed.
    """
    path = ENSEMBLE_FOLDER / f"{name}.yaml"
    if name not in list_ensembles():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            raise PromptError(
                f"There is no prompt ensemble {name!r}.",
                f"Known are: {', '.join(list_ensembles())}; or give the path of a yaml file.",
            )
    return read_ensemble(path)


def read_ensemble(path: Path) -> PromptEnsemble:
    """Read an ensemble from a yaml file.

    Raises:
        PromptError: If the file is not well formed.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return PromptEnsemble(
            name=path.stem,
            title=str(raw["title"]),
            source=str(raw.get("source", "")),
            normal_states=tuple(raw["normal_states"]),
            abnormal_states=tuple(raw["abnormal_states"]),
            templates=tuple(raw["templates"]),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise PromptError(
            f"The prompt ensemble {path} can't be read: {type(error).__name__} {error}.",
            "It needs title, normal_states, abnormal_states and templates.",
        ) from error
