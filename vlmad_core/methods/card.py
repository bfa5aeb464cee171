"""Method cards: what a user must know of a method, kept as data beside the code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from vlmad_core.errors import MethodError

CARD_FOLDER = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class MethodCard:
    """What a method is, where it comes from, and how public codes differ.

    Attributes:
        name: Identifier of the method.
        title: How it is shown.
        few_shot_title: How it is shown with references, if otherwise.
        paper: Authors, title and venue.
        year: Year of publication.
        url: Where the paper is found.
        summary: In two or three sentences, how it works.
        needs: What it needs: text, references, training.
        trained_on: What its published parameters were trained on, or None if nothing is trained.
        settings: What each setting means and where its default comes from, by name.
        deviations: Known differences between the paper, public codes, and this program.
    """

    name: str
    title: str
    paper: str
    year: int
    url: str
    summary: str
    needs: tuple[str, ...]
    few_shot_title: str | None = None
    trained_on: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    deviations: tuple[str, ...] = ()


_ADDED: dict[str, MethodCard] = {}


def add_card(card: MethodCard) -> None:
    """Make a card known that is no yaml file: the one a plugin brings. Part of registering its method."""
    _ADDED[card.name] = card


def load_card(name: str) -> MethodCard:
    """The card of a method.

    Raises:
        MethodError: If there is no card, or it lacks a field.
    """
    return _ADDED.get(name) or _read_card(name)


@cache
def _read_card(name: str) -> MethodCard:
    path = CARD_FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise MethodError(f"The method {name!r} has no card at {path}.", "Add one, or set 'own_card'.")
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["needs"] = tuple(raw.get("needs", ()))
    raw["deviations"] = tuple(raw.get("deviations", ()))
    raw["settings"] = tuple((raw.get("settings") or {}).items())
    try:
        return MethodCard(name=name, **raw)
    except TypeError as error:
        raise MethodError(f"The card {path} is not complete: {error}.", "Compare it with another card.") from error
