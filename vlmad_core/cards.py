"""Method cards: what a user must know of a method, and how it is listed and drawn; kept as data beside the code.

The cards lie in ``methods/cards``. They are read here, below the methods, so that a page or a figure can name and
colour a method without loading torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from vlmad_core.errors import MethodError

CARD_FOLDER = Path(__file__).parent / "methods" / "cards"

Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn in every figure.

    Colour alone never tells two methods apart: dash and symbol differ as well.

    Attributes:
        colour: As ``#rrggbb``; its contrast should be at least 3:1 against both page backgrounds.
        dash: Line style, by Plotly's name.
        symbol: Marker, by Plotly's name.

    Raises:
        MethodError: If the colour or the line style is not of that form.
    """

    colour: str
    dash: Dash
    symbol: str

    def __post_init__(self) -> None:
        """Check what a card says."""
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise MethodError(f"A card gives the colour {self.colour!r}.", "Write it as '#rrggbb'.")
        if self.dash not in get_args(Dash):
            raise MethodError(f"A card gives the line style {self.dash!r}.", f"Known are: {', '.join(get_args(Dash))}.")


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
        order: Its place in lists of methods, lowest first; None to follow those that have one.
        style: How figures draw it; None for a spare style that depends on its name only.
        first_choice: Whether the live demo and ``predict`` use it where no method is named.
        first_for_parts: Whether it is chosen at first for a user's own parts, of which there are good photos.
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
    order: int | None = None
    style: MethodStyle | None = None
    first_choice: bool = False
    first_for_parts: bool = False


_ADDED: dict[str, MethodCard] = {}


def add_card(card: MethodCard) -> None:
    """Make a card known that is no yaml file: the one a plugin brings. Part of registering its method."""
    _ADDED[card.name] = card


def load_card(name: str) -> MethodCard:
    """The card of a method.

    Raises:
        MethodError: If there is no card, or it lacks a field.
    """
    card = find_card(name)
    if card is None:
        raise MethodError(
            f"The method {name!r} has no card at {CARD_FOLDER / f'{name}.yaml'}.", "Add one, or set 'own_card'."
        )
    return card


def find_card(name: str) -> MethodCard | None:
    """The card of a method; None if there is none.

    Raises:
        MethodError: If it lacks a field.
    """
    return _ADDED.get(name) or (_read_card(name) if name in _files() else None)


def place_of(name: str) -> float:
    """Where a method stands in a list of methods: its card's ``order``, and after all that have one without it."""
    card = find_card(name)
    return float("inf") if card is None or card.order is None else card.order


def card_names() -> tuple[str, ...]:
    """Names of all methods with a card, in their order: those of this program, and of the plugins loaded so far."""
    return tuple(sorted(sorted(_files() | _ADDED.keys()), key=place_of))


def first_choices() -> tuple[str, ...]:
    """Methods that the live demo and ``predict`` use where none is named, in their order.

    Examples:
        >>> first_choices()
        ('clip_ac', 'clip_cpe', 'winclip')
    """
    return tuple(name for name in card_names() if load_card(name).first_choice)


def first_for_parts() -> tuple[str, ...]:
    """Methods chosen at first for a user's own parts: words alone, words with references, references alone.

    Examples:
        >>> first_for_parts()
        ('clip_ac', 'winclip', 'patch_memory')
    """
    return tuple(name for name in card_names() if load_card(name).first_for_parts)


@cache
def _files() -> frozenset[str]:
    return frozenset(path.stem for path in CARD_FOLDER.glob("*.yaml"))


@cache
def _read_card(name: str) -> MethodCard:
    path = CARD_FOLDER / f"{name}.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["needs"] = tuple(raw.get("needs", ()))
    raw["deviations"] = tuple(raw.get("deviations", ()))
    raw["settings"] = tuple((raw.get("settings") or {}).items())
    try:
        raw["style"] = MethodStyle(**raw["style"]) if raw.get("style") else None
        return MethodCard(name=name, **raw)
    except TypeError as error:
        raise MethodError(f"The card {path} is not complete: {error}.", "Compare it with another card.") from error
