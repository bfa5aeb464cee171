"""Which images do methods judge alike, and which only one of them gets wrong?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from vlmad_core.results.comparison import Line
from vlmad_core.results.store import Store
from vlmad_core.results.verdicts import image_thresholds, judge

Company = Literal["any", "all", "none"]

COMPANY_LABELS: Mapping[str, str] = {
    "any": "All",
    "all": "Wrong for every method",
    "none": "Wrong for this one only",
}
"""Whom a mistake is shared with."""


def judged_by_others(
    store: Store, lines: Sequence[Line], chosen: Line, category: str, threshold: str | None
) -> dict[str, pd.DataFrame]:
    """What the other lines say of a category's images, each at its own threshold of the same name.

    Args:
        store: The results.
        lines: The competitors; those without scores or thresholds for the category are left out.
        chosen: The line that is left out.
        category: The category.
        threshold: Name of the threshold; a line without it is judged at its first one.

    Returns:
        By line, what ``judge`` gives.
    """
    found = {}
    for line in lines:
        run = line.run_with(category)
        if run is None or line.same_as(chosen):
            continue
        images = store.images(run.id, category)
        stored = image_thresholds(run, category, images)
        at = stored.get(threshold or "", next(iter(stored.values()), None))
        if at is not None:
            found[line.id] = judge(images, at.value)
    return found


def wrong_elsewhere(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.Series:
    """In how many of the other lines is each image judged wrongly too?

    Args:
        judged: What ``judge`` gives for the chosen line.
        others: What it gives for the others, by line.

    Returns:
        Counts, with the index of ``judged``.
    """
    total = pd.Series(0, index=judged.index)
    for frame in others.values():
        wrong = set(frame.loc[frame["verdict"].isin(["missed", "false_alarm"]), "image_id"])
        total += judged["image_id"].isin(wrong).astype(int)
    return total


def keep_company(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame], company: Company | str) -> pd.DataFrame:
    """The images whose mistakes are shared as asked for.

    Args:
        judged: What ``judge`` gives for the chosen line.
        others: What it gives for the others, by line.
        company: ``any``: every image; ``all``: those that every other line judges wrongly too; ``none``: those
            that no other line does.
    """
    if company == "any" or not others:
        return judged
    shared = wrong_elsewhere(judged, others)
    return judged[shared == (len(others) if company == "all" else 0)]
