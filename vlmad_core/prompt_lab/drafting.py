"""From texts as a user types them to an ensemble, or to what is wrong with them, each at its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vlmad_core.backbones import ClipBackbone
from vlmad_core.prompt_lab.scoring import PromptBank, all_prompts
from vlmad_core.prompts.checks import Kind, PhraseProblem, read_phrases
from vlmad_core.prompts.ensemble import PromptEnsemble, PromptError, Tuning

FIELDS: Mapping[str, Kind] = {"normal_states": "state", "abnormal_states": "state", "templates": "template"}
"""The three texts, and what their lines are."""

SHOWN = 3
"""Problems named one by one; of more only the number is said."""


@dataclass(frozen=True)
class Draft:
    """What the texts make.

    Attributes:
        ensemble: The ensemble; None while something is wrong.
        problems: By text, in sentences; ``whole`` for what concerns all of them together.
    """

    ensemble: PromptEnsemble | None
    problems: Mapping[str, tuple[str, ...]]


def texts_of(ensemble: PromptEnsemble) -> dict[str, str]:
    """An ensemble as texts, a phrase a line."""
    return {field: "\n".join(getattr(ensemble, field)) for field in FIELDS}


def draft_ensemble(texts: Mapping[str, str], origin: PromptEnsemble, watched: Tuning | None = None) -> Draft:
    """Make an ensemble of texts.

    Args:
        texts: A text for each of ``FIELDS``.
        origin: What the words were taken from; with unchanged words it is what comes back.
        watched: What the user sees while editing: changed words record that they were chosen on it.

    Returns:
        The ensemble, or what is wrong line by line.
    """
    found: dict[str, tuple[str, ...]] = {}
    problems: dict[str, tuple[str, ...]] = {}
    for field, kind in FIELDS.items():
        phrases, wrong = read_phrases(texts[field], kind)
        found[field] = phrases
        if wrong:
            said = [_with_phrase(problem) for problem in wrong[:SHOWN]]
            more = [f"{len(wrong) - SHOWN} more lines can't be used."] if len(wrong) > SHOWN else []
            problems[field] = (*said, *more)
    if problems:
        return Draft(None, problems)
    try:
        ensemble = replace(origin, **found)  # type: ignore[arg-type]
    except PromptError as error:
        return Draft(None, {"whole": (str(error),)})
    if ensemble.same_words(origin):
        return Draft(origin, {})
    title = origin.title if origin.title.endswith(", edited") else f"{origin.title}, edited"
    tuned = origin.tuned_on
    if watched is not None and watched not in tuned:
        tuned = (*tuned, watched)
    source = origin.source if origin.source.startswith("Edited from") else f"Edited from {origin.title}."
    return Draft(replace(ensemble, name="edited", title=title, source=source, tuned_on=tuned), {})


def too_long(backbone: ClipBackbone, ensemble: PromptEnsemble, nouns: Iterable[str], bank: PromptBank) -> str | None:
    """Which prompts the backbone can't read whole, in a sentence, or None.

    Args:
        backbone: The backbone.
        ensemble: The ensemble.
        nouns: The categories in words.
        bank: Prompts it knows have been read already and are not counted again.
    """
    over = backbone.over_length(bank.missing(all_prompts(ensemble, nouns)))
    if not over:
        return None
    worst, tokens = max(over.items(), key=lambda item: item[1])
    shown = (worst if len(worst) <= 90 else f"{worst[:87]}…").replace("`", "'")
    return (
        f"{len(over)} prompts have more than the {backbone.info.context_length} tokens that {backbone.info.title} "
        f"reads; the longest has {tokens}: `{shown}`. Shorten the state or the template."
    )


def _with_phrase(problem: PhraseProblem) -> str:
    """A problem with the beginning of its line in backticks, for pages that show it as markdown."""
    phrase = problem.phrase.replace("`", "'")
    return f"{problem} (`{phrase}`)" if phrase else str(problem)
