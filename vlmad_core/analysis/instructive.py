"""What a view opens on where the visitor has chosen nothing: the rules, each in one place and in one line of help.

A link that says otherwise wins. The rules look at the entries of one number of references, the one the view opens on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vlmad_core.analysis.best import best_first
from vlmad_core.analysis.entries import Entry
from vlmad_core.metrics.spec import METRICS

SHOWN = 3
"""Entries that curves are drawn of at first; more cross one another."""

OPEN_AT = "normal_05"
"""The threshold that views open at: it flags at most 5 % of the normal test images and looks at no defect."""


@dataclass(frozen=True)
class Opening:
    """What a view opens on.

    Attributes:
        entry: The best entry; None where none has a value.
        category: The category in which it is worst.
        shown: The best entries, the best first, then those without a value in every category; all where none has one.
        rule: Why these, in a sentence.
    """

    entry: Entry | None
    category: str
    shown: tuple[Entry, ...]
    rule: str


def opening(entries: Sequence[Entry], cells: pd.DataFrame, metric: str, categories: Sequence[str]) -> Opening:
    """Open on the best entry's worst category, and draw the best three.

    The best is best in the mean over all categories, among the entries that have a value in each; of those that have
    seen the data in training none is called best unless all have; imported ones come in only where nothing was
    measured. The worst category has the lowest value; of equal ones it is the first.

    Args:
        entries: Entries of one comparison and one number of references.
        cells: Their values by category in the metric, as ``entries.cells`` gives them.
        metric: Name of the metric.
        categories: What can be shown; at least one.
    """
    own = [entry for entry in entries if entry.evidence == "measured"] or list(entries)
    values = cells[cells["category"].isin(list(categories))]
    by_line = {str(line): group.set_index("category")["value"] for line, group in values.groupby("line", sort=False)}
    known = [(entry, float(by_line[entry.id].mean(skipna=False))) for entry in own if entry.id in by_line]
    ranked = best_first(known)
    if not ranked:
        return Opening(None, categories[0], unseen(entries), "")
    label = METRICS[metric].label if metric in METRICS else metric
    worst = by_line[ranked[0].id].sort_index().idxmin()
    rule = (
        f"Opens on the category in which the best method here is worst ({ranked[0].title}, by mean {label}; methods "
        "that have seen the data in training are not called best)."
    )
    shown = [*ranked, *(entry for entry in unseen(own) if entry not in ranked)]
    return Opening(ranked[0], str(worst), tuple(shown[:SHOWN]), rule)


def unseen(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries shown before anybody asks for more: those that have not seen the data, or all if all have."""
    return tuple(entry for entry in entries if entry.seen != "yes") or tuple(entries)


def threshold_to_open(stored: Mapping[str, object]) -> str | None:
    """Name of the threshold a view opens at: ``OPEN_AT`` where there are normal images, else the first; None if none.

    The largest F1 is no default: it is chosen with the labels of the very images it judges, so it flatters.

    Args:
        stored: Thresholds by name, as ``image_thresholds`` gives them.
    """
    return OPEN_AT if OPEN_AT in stored else next(iter(stored), None)
