"""What sources state of one method on one data set, and which of several claims stands where one number is shown.

No two claims are ever averaged. The order in which they stand is written down here once: the authors' own number, then
theirs as quoted by others, then runs of others, then what is known at second hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["authors", "quoted", "rerun", "unclear", "digest"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KIND_NAMES: Mapping[str, str] = {
    "authors": "the authors",
    "quoted": "quoted from the authors",
    "rerun": "a re-run by others",
    "unclear": "listed, whose run is not said",
    "digest": "a digest of the paper",
}
"""Whose number a claim is, in words."""
KIND_MARKS: Mapping[str, str] = {"authors": "", "quoted": "", "rerun": "*", "unclear": "†", "digest": "†"}
"""What stands behind a number in a grid that is not the authors' own."""
AUTHORS: tuple[Kind, ...] = ("authors", "quoted")
"""The kinds that are the authors' own numbers."""
FIRST_HAND: tuple[Kind, ...] = ("authors", "quoted", "rerun")
"""The kinds that are shown unless others are asked for; the others are second hand."""
ALWAYS_SHOWN = ("clip_cpe",)
"""Methods whose digests are shown unasked, because there is nothing else."""

_BY_ORIGIN: Mapping[str, Kind] = {"primary": "authors", "secondary": "quoted", "reproduction": "rerun"}


@dataclass(frozen=True)
class Claim:
    """A number as one source states it.

    Attributes:
        value: A fraction.
        std: Standard deviation over seeds, a fraction; NaN where the source gives none.
        kind: Whose number it is, one of ``KINDS``.
        source: Key of the source.
        citation: The source in short.
        year: Its year, or None.
        url: Where it is found, or None.
        location: Where in the source.
        variant: Which of the method's numbers it is.
        backbone: As far as the source says; empty if unknown.
        training_data: What the method's parameters were trained on, joined by ``+``; ``none``; empty if not said.
        note: What else a reader should know.
        stated: False for a mean that was computed here, from all categories of a source that states none.
    """

    value: float
    std: float
    kind: Kind
    source: str
    citation: str
    year: int | None
    url: str | None
    location: str
    variant: str
    backbone: str
    training_data: str
    note: str
    stated: bool = True


@dataclass(frozen=True)
class Claims:
    """All that is reported of one method with one number of references on one data set.

    Attributes:
        values: By metric and category (``mean`` for the mean over categories), the claim that stands first.
        training_data: What the method's own parameters were trained on, joined by ``+``; ``none``; empty if not said.
        contaminated: Whether that includes the data set.
    """

    values: Mapping[tuple[str, str], tuple[Claim, ...]]
    training_data: str
    contaminated: bool

    @property
    def every(self) -> tuple[Claim, ...]:
        """All claims, over all metrics and categories."""
        return tuple(claim for some in self.values.values() for claim in some)


@dataclass(frozen=True)
class Wanted:
    """Which claims a viewer wants to see; an empty choice takes all.

    Attributes:
        kinds: Whose numbers.
        backbones: As sources name them; empty text for "not said".
        training_data: What the method was trained on; empty text for "not said".
        years: First and last year of the source, both included; None for all, those without a year too.
    """

    kinds: tuple[str, ...] = FIRST_HAND
    backbones: tuple[str, ...] = ()
    training_data: tuple[str, ...] = ()
    years: tuple[int, int] | None = None

    def takes(self, claim: Claim, method: str) -> bool:
        """Whether a claim on a method is wanted."""
        if claim.kind not in self.kinds and not (method in ALWAYS_SHOWN and claim.kind == "digest"):
            return False
        if self.backbones and claim.backbone not in self.backbones:
            return False
        if self.years is None:
            return True
        return claim.year is not None and self.years[0] <= claim.year <= self.years[1]


UNASKED = Wanted()
"""What is shown unless a viewer chooses otherwise."""
EVERYTHING = Wanted(kinds=KINDS)


def kind_of(origin: str, read: str) -> Kind:
    """Whose number a row of the table is, by its columns ``origin`` and ``read``.

    A digest whose number another source confirms is none (``digest, confirmed``).

    >>> kind_of("primary", "text"), kind_of("primary", "digest"), kind_of("unclear", "text")
    ('authors', 'digest', 'unclear')
    """
    return "digest" if read == "digest" else _BY_ORIGIN.get(origin, "unclear")


def in_order(claims: Iterable[Claim], weights: Mapping[tuple[str, str], int]) -> tuple[Claim, ...]:
    """Claims on one number, the one that stands first.

    By kind; among the authors' own, the paper before logs and repositories; then the source that states most of the
    method on the data set, so that a column comes from as few hands as possible; then the newer one.

    Args:
        claims: The claims.
        weights: By source and variant, how many values of the method that claim holds.
    """
    return tuple(
        sorted(
            claims,
            key=lambda c: (
                KINDS.index(c.kind),
                not c.variant.startswith("paper"),
                -weights.get((c.source, c.variant), 0),
                -(c.year or 0),
                (c.source, c.variant, c.location),
            ),
        )
    )


def span(claims: Sequence[Claim]) -> tuple[float, float, int] | None:
    """Smallest and largest value of the re-runs among some claims, and how many sources ran; None without re-runs."""
    runs = [claim for claim in claims if claim.kind == "rerun"]
    if not runs:
        return None
    values = [claim.value for claim in runs]
    return min(values), max(values), len({claim.source for claim in runs})


def span_text(claims: Sequence[Claim]) -> str:
    """Such a span in percent with its number of sources; empty without re-runs."""
    found = span(claims)
    if found is None:
        return ""
    low, high, sources = found
    values = f"{100 * low:.1f}" if high - low < 5e-4 else f"{100 * low:.1f} – {100 * high:.1f}"
    return f"{values} ({sources} source{'' if sources == 1 else 's'})"
