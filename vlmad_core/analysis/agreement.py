"""Which images do methods judge alike, and which only one of them gets wrong?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from vlmad_core.analysis.comparison import Line
from vlmad_core.analysis.failures import judge_line
from vlmad_core.store.reader import Store

ANY, ALL, NONE = "any", "all", "only"
COMPANY_LABELS: Mapping[str, str] = {
    ANY: "Whatever other methods say",
    ALL: "Wrong for every method",
    NONE: "Wrong for this one only",
}
"""Whom a mistake is shared with. Besides these, the id of another line: wrong here, right there."""

WRONG = ("missed", "false_alarm")


def judge_others(
    store: Store, lines: Sequence[Line], chosen: Line, categories: Sequence[str], threshold: str | None
) -> dict[str, pd.DataFrame]:
    """What the other lines say of the images, each at its own thresholds of the same name.

    Args:
        store: The results.
        lines: The competitors; those without scores or thresholds are left out.
        chosen: The line that is left out.
        categories: The categories.
        threshold: Name of the threshold; a line without it is judged at its first one.

    Returns:
        By line, what ``judge_line`` gives.
    """
    found = {}
    for line in lines:
        if not line.same_as(chosen):
            judged = judge_line(store, line, categories, threshold)
            if len(judged):
                found[line.id] = judged
    return found


def wrong_images(judged: pd.DataFrame) -> frozenset[str]:
    """Ids of the images that are judged wrongly.

    Args:
        judged: As ``judge_line`` gives it.
    """
    return frozenset(judged.loc[judged["verdict"].isin(WRONG), "image_id"])


def wrong_elsewhere(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.Series:
    """In how many of the other lines is each image judged wrongly too?

    Args:
        judged: What ``judge_line`` gives for the chosen line.
        others: What it gives for the others, by line.

    Returns:
        Counts, with the index of ``judged``.
    """
    total = pd.Series(0, index=judged.index)
    for frame in others.values():
        total += judged["image_id"].isin(wrong_images(frame)).astype(int)
    return total


def keep_company(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame], company: str) -> pd.DataFrame:
    """The images whose mistakes are shared as asked for.

    Args:
        judged: What ``judge_line`` gives for the chosen line.
        others: What it gives for the others, by line.
        company: ``any``: every image; ``all``: those wrong here and for every other line; ``only``: those wrong
            here and for no other line; the id of a line: those on which that line is of the other opinion, right
            where this one is wrong and wrong where this one is right.
    """
    if company == ANY or not others:
        return judged
    if company in others:
        theirs = others[company].set_index("image_id")["verdict"]
        verdict = judged["image_id"].map(theirs)
        return judged[verdict.notna() & (judged["verdict"].isin(WRONG) != verdict.isin(WRONG))]
    judged = judged[judged["verdict"].isin(WRONG)]
    shared = wrong_elsewhere(judged, others)
    return judged[shared == (len(others) if company == ALL else 0)]


def pairs(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How often is one line wrong where another is right?

    Args:
        judged: By line, what ``judge_line`` gives.

    Returns:
        wrong, right (ids of lines), n (images that both have judged, wrong for the one and right for the other),
        of (images that both have judged); the diagonal holds all images that a line gets wrong.
    """
    wrong = {line: wrong_images(frame) for line, frame in judged.items()}
    seen = {line: frozenset(frame["image_id"]) for line, frame in judged.items()}
    rows = []
    for first in judged:
        for second in judged:
            both = seen[first] & seen[second]
            n = len(wrong[first]) if first == second else len((wrong[first] - wrong[second]) & both)
            rows.append({"wrong": first, "right": second, "n": n, "of": len(both)})
    return pd.DataFrame(rows, columns=["wrong", "right", "n", "of"])


def shared_by(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How many images are judged wrongly by none, one, two ... of the lines?

    Args:
        judged: By line, what ``judge_line`` gives; images that a line lacks count as right for it.

    Returns:
        lines (how many are wrong), n (images); a row for each number from 0 to all lines.
    """
    ids = sorted(set().union(*(frame["image_id"] for frame in judged.values()))) if judged else []
    total = pd.Series(0, index=ids)
    for frame in judged.values():
        total += pd.Series(1, index=sorted(wrong_images(frame))).reindex(ids, fill_value=0)
    found = total.value_counts()
    return pd.DataFrame([{"lines": k, "n": int(found.get(k, 0))} for k in range(len(judged) + 1)])
