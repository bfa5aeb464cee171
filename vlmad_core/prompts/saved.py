"""Saving prompt ensembles under a name, and all that can be chosen; see ``vlmad_core.paths`` for where."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from vlmad_core.io import write_atomically
from vlmad_core.paths import PROMPTS_DIR
from vlmad_core.prompts.ensemble import (
    PromptEnsemble,
    PromptError,
    builtin_ensemble,
    load_ensemble,
    parse_ensemble,
    to_yaml,
)
from vlmad_core.prompts.places import (
    MOST_SAVED,
    NAME,
    list_ensembles,
    may_be_saved,
    saved_names,
    saved_path,
)


@dataclass(frozen=True)
class EnsembleEntry:
    """An ensemble that can be chosen.

    Attributes:
        name: What to give to ``load_ensemble``, or behind a method's name: ``clip_cpe:my_words``.
        title: How it is shown.
        ensemble: The ensemble; None if its file can't be used.
        saved: Whether a user saved it.
        problem: Why it can't be used, or None.
    """

    name: str
    title: str
    ensemble: PromptEnsemble | None
    saved: bool
    problem: str | None = None


def tidy_name(title: str) -> str:
    """A name that can be saved under, from a title; empty if nothing of it can be used.

    >>> tidy_name("My words, 2nd try")
    'my_words_2nd_try'
    """
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:40].strip("_")
    return name if NAME.fullmatch(name) else ""


def check_name(name: str) -> None:
    """See that an ensemble may be saved under a name.

    Raises:
        PromptError: If not.
    """
    if not NAME.fullmatch(name):
        raise PromptError(
            f"An ensemble can't be called {name[:60]!r}.",
            "Use small letters, digits and underscores, at most 40, beginning with a letter or digit.",
        )
    if not may_be_saved(name):
        raise PromptError(f"The name {name!r} belongs to the program.", "Choose another one.")


def available_ensembles() -> tuple[EnsembleEntry, ...]:
    """All ensembles that can be chosen: the program's, then the saved ones; damaged ones with what is wrong."""
    entries = [
        EnsembleEntry(name, builtin_ensemble(name).title, builtin_ensemble(name), saved=False)
        for name in list_ensembles()
    ]
    for name in saved_names():
        try:
            ensemble = load_ensemble(name)
        except PromptError as error:
            entries.append(EnsembleEntry(name, name, None, saved=True, problem=str(error)))
        else:
            entries.append(EnsembleEntry(name, ensemble.title, ensemble, saved=True))
    return tuple(entries)


def save_ensemble(ensemble: PromptEnsemble, name: str, *, overwrite: bool = False) -> Path:
    """Save an ensemble under a name; it is there whole or not at all.

    Args:
        ensemble: What to save; its own name is not used.
        name: Under which to save it.
        overwrite: Whether to replace one that has the name.

    Returns:
        The file.

    Raises:
        PromptError: If the name can't be used or is taken, or the folder can't be written to.
    """
    check_name(name)
    path = saved_path(name)
    if not overwrite and path.exists():
        raise PromptError(f"There is an ensemble {name!r} already.", "Choose another name, or replace it.")
    if not path.exists() and len(saved_names()) >= MOST_SAVED:
        raise PromptError(f"{MOST_SAVED} ensembles are saved already.", f"Remove some from {path.parent}.")
    text = to_yaml(replace(ensemble, name=name))
    parse_ensemble(text, name, str(path))
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise PromptError(
            f"Nothing was saved: {path.parent} can't be written to ({error}).", f"Set {PROMPTS_DIR}."
        ) from error
    return path


def ensemble_label(name: str) -> str:
    """How an ensemble is called where results are kept apart: one of the program by its name, others with a hash.

    Words saved again under the same name are other words: four hex digits of the content tell them apart.

    Args:
        name: As ``load_ensemble`` takes it.

    Raises:
        PromptError: If there is no such ensemble.

    Examples:
        >>> ensemble_label("april_gan")
        'april_gan'
    """
    if name in list_ensembles():
        return name
    ensemble = load_ensemble(name)
    stem = tidy_name(ensemble.name) or "words"
    return f"{stem}-{ensemble.content_hash[:4]}"


def ensemble_of_label(label: str) -> str | None:
    """The name of the ensemble that a name or label means, or None if there is none.

    Raises:
        PromptError: If the label's ensemble has other words by now.
    """
    if label in list_ensembles() or label in saved_names():
        return label
    name = label.rpartition("-")[0]
    if name not in saved_names():
        return None
    if ensemble_label(name) != label:
        raise PromptError(
            f"The ensemble {name!r} has other words than when it was called {label!r}.",
            f"Ask for {name!r} to use its words of now.",
        )
    return name
