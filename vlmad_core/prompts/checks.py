"""What a state or template may look like, and what is said of one that may not: in a sentence, line by line."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

PLACE = "{}"
LONGEST_PHRASE = 300
"""Characters of a state or template; CLIP's 77 tokens are about 60 words, which rarely need as many."""

MOST_PHRASES = 200
"""States of a class, or templates."""

SHOWN = 60

Kind = Literal["state", "template"]

_TAG = re.compile(r"<\s*[/!?a-zA-Z][^>]*>")


@dataclass(frozen=True)
class PhraseProblem:
    """What is wrong with one line of a text.

    Attributes:
        line: Counted from 1; 0 if it concerns the text as a whole.
        phrase: Its beginning, as typed.
        message: What is wrong and what to write instead.
    """

    line: int
    phrase: str
    message: str

    def __str__(self) -> str:
        where = f"Line {self.line}: " if self.line else ""
        return f"{where}{self.message}"


def problem_of(phrase: object, kind: Kind) -> str | None:
    """Why a phrase can't be used, or None if it can.

    Args:
        phrase: A state or template.
        kind: Which of them; decides what the place in it is for.

    Examples:
        >>> problem_of("flawless {}", "state") is None
        True
        >>> problem_of("flawless", "state")
        'has not exactly one {}; write {} where the category goes.'
    """
    goes = "write {} where the " + ("category" if kind == "state" else "state") + " goes."
    if not isinstance(phrase, str):
        return f"is {type(phrase).__name__} and no text; {goes}"
    if not phrase.strip():
        return f"is empty; {goes}"
    if len(phrase) > LONGEST_PHRASE:
        return f"has {len(phrase):,} characters, at most {LONGEST_PHRASE} are taken; CLIP reads about 60 words."
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") for character in phrase):
        return "holds a control character or one that is not text; type it anew."
    if _TAG.search(phrase):
        return "looks like html; CLIP would read the tags as words. Write plain words."
    if phrase.count(PLACE) != 1:
        return f"has not exactly one {PLACE}; {goes}"
    rest = phrase.replace(PLACE, "", 1)
    if "{" in rest or "}" in rest:
        return f"has braces besides {PLACE}; only {PLACE} is replaced, anything else in braces would be read as it is."
    letters = any(character.isalnum() for character in rest)
    symbols = any(unicodedata.category(character)[0] in "SM" for character in rest)
    if symbols and not letters:
        return f"has only symbols around {PLACE}; CLIP knows defects by words, so write some."
    return None


def read_phrases(text: str, kind: Kind) -> tuple[tuple[str, ...], tuple[PhraseProblem, ...]]:
    r"""Read phrases from a text, one a line; blank lines are passed over.

    Args:
        text: As typed.
        kind: What the lines are.

    Returns:
        The phrases that can be used, in order, and what is wrong with the others. A text without any phrase is a
        problem of its own.

    Examples:
        >>> read_phrases("flawless {}\n\nperfect", "state")[1][0].line
        3
    """
    phrases: list[str] = []
    problems: list[PhraseProblem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        phrase = " ".join(line.split(" ")).strip()
        if not phrase:
            continue
        message = problem_of(phrase, kind)
        if message is None:
            phrases.append(phrase)
        else:
            problems.append(PhraseProblem(number, phrase[:SHOWN], message))
    if len(phrases) > MOST_PHRASES:
        problems.append(PhraseProblem(0, "", f"{len(phrases)} lines; at most {MOST_PHRASES} are taken."))
    if not phrases and not problems:
        example = "flawless {}" if kind == "state" else "a photo of a {}."
        problems.append(PhraseProblem(0, "", f"Nothing here yet; write at least one {kind}, such as: {example}"))
    return tuple(phrases), tuple(problems)
