"""The leaderboard: means over categories and seeds, computed from units and never stored; ranks and how they move."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from vlmad_core.analysis.best import Differences
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import KEY, Entry, EntryKey, key_of
from vlmad_core.analysis.statistics import mean_interval
from vlmad_core.store.reader import Store

LINE = [
    "run_id", "dataset", "method", "preset", "backbone", "mode", "shots", "seed", "level", "metric", "eval_size",
]  # fmt: skip
"""What one mean belongs to."""


@dataclass(frozen=True)
class RankMoves:
    """Ranks of the same entries in several metrics.

    Attributes:
        frame: method, preset, shots, name, metric, value, rank (ties share the better one), place (no ties: entries
            of equal rank stand side by side); entries by their rank in the first metric.
        left_out: Names of the entries that lack a value in one of the metrics.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...]


def mean_over_categories(
    metrics: pd.DataFrame,
    categories: Iterable[str] | None = None,
    *,
    blank: Literal["propagate", "skip"] = "propagate",
) -> pd.DataFrame:
    """Macro mean of each metric over the categories of each run, with its 95% interval over categories.

    For a single category the interval is that category's own, over images.

    Args:
        metrics: As ``Store.metrics`` gives them.
        categories: The categories to average over; None for all that a run has. A run that lacks one gets a
            blank with the reason.
        blank: ``propagate``: a mean is blank if one of its values is; ``skip``: it is over the others, and
            the reason says so.

    Returns:
        One row per run, metric and evaluation size: the columns of ``LINE`` and value, low, high,
        n_categories, n (images), reason, by_category (the values the mean is of, a mapping).
    """
    wanted = None if categories is None else sorted(set(categories))
    rows = []
    for line, group in metrics.groupby(LINE, dropna=False, sort=True):
        chosen = group if wanted is None else group[group["category"].isin(wanted)]
        absent = [] if wanted is None else sorted(set(wanted) - set(chosen["category"]))
        rows.append({**dict(zip(LINE, line, strict=True)), **_macro_mean(chosen, absent, blank)})
    columns = [*LINE, "value", "low", "high", "n_categories", "n", "reason", "by_category"]
    frame = pd.DataFrame(rows, columns=columns)
    types = {"shots": "Int64", "seed": "Int64", "eval_size": "Int64", "n": "Int64", "n_categories": "Int64"}
    return frame.astype({**types, "value": "float64", "low": "float64", "high": "float64"})


def mean_over_seeds(means: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of what ``mean_over_categories`` gave, with the standard deviation between seeds.

    The interval is over categories, each at its mean over seeds; for a single category its limits are the means of
    the seeds' own. A blank seed makes the mean blank. Runs under different protocols are kept apart if ``means`` has a
    column ``protocol``.

    Returns:
        One row per line without its seed: value, sd (blank for one seed), low, high, n_seeds, n_categories,
        n, reason, run_ids (tuple).
    """
    extra = [name for name in ("protocol", "conditions", "title", "name", "evidence", "seen") if name in means.columns]
    keys = [name for name in LINE if name not in ("run_id", "seed")] + extra
    rows = []
    for line, group in means.groupby(keys, dropna=False, sort=True):
        values = group["value"].to_numpy(dtype=float)
        blank = np.isnan(values)
        row = dict(zip(keys, line, strict=True))
        low, high = (float("nan"), float("nan")) if blank.any() else _over_seeds(group)
        row |= {
            "value": float("nan") if blank.any() else float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 and not blank.any() else float("nan"),
            "low": low,
            "high": high,
            "n_seeds": len(group),
            "n_categories": group["n_categories"].min(),
            "n": group["n"].min(),
            "reason": next((r for r in group["reason"] if isinstance(r, str)), None),
            "run_ids": tuple(group["run_id"]),
        }
        rows.append(row)
    columns = [*keys, "value", "sd", "low", "high", "n_seeds", "n_categories", "n", "reason", "run_ids"]
    return pd.DataFrame(rows, columns=columns)


def leaderboard(
    store: Store,
    metrics: Sequence[str] | None = None,
    *,
    eval_size: int | None = 256,
    dataset: str | None = None,
    categories: Iterable[str] | None = None,
    blank: Literal["propagate", "skip"] = "propagate",
    seed: int | None = None,
) -> pd.DataFrame:
    """All runs of a store, averaged over categories and seeds, and ranked where that is fair.

    Args:
        store: The results.
        metrics: Names of the metrics; None for all.
        eval_size: Map size of the pixel metrics; None for all sizes.
        dataset: Only this data set; None for all.
        categories: Average over these; None: over all categories that any listed run of the data set has
            under the same conditions, so that no run gains by being unfinished.
        blank: See ``mean_over_categories``.
        seed: Only this draw of references, and the runs that draw none; None: the mean over all draws.

    Returns:
        What ``mean_over_seeds`` gives, with protocol, conditions and title, name, evidence and ``seen`` of the entry,
        and ``rank``: 1 is highest among the entries of one data set under equal conditions; blanks have no rank, nor
        have imported entries beside measured ones (``rank_again`` can give them one).
    """
    frame = store.metrics()
    if dataset is not None:
        frame = frame[frame["dataset"] == dataset]
    if metrics is not None:
        frame = frame[frame["metric"].isin(list(metrics))]
    if seed is not None:
        frame = frame[(frame["shots"] == 0) | (frame["seed"] == seed)]
    if eval_size is not None:
        frame = frame[frame["eval_size"].isna() | (frame["eval_size"] == eval_size)]
    parts = []
    for one in comparisons(store, dataset):
        entries = {run.id: entry for entry in one.entries() for run in entry.runs}
        own = frame[frame["run_id"].isin(list(entries))]
        if len(own):
            wanted = sorted(set(own["category"]) & set(one.categories)) if categories is None else categories
            parts.append(_of_entries(mean_over_categories(own, wanted, blank=blank), entries, one.conditions))
    means = pd.concat(parts, ignore_index=True) if parts else _of_entries(mean_over_categories(frame), {}, "")
    board = mean_over_seeds(means)
    board["value"] = board["value"].astype("float64")
    return rank_again(board).sort_values(["dataset", "conditions", "level", "metric", "rank"], ignore_index=True)


def rank_again(board: pd.DataFrame, also: Collection[EntryKey] = ()) -> pd.DataFrame:
    """A part of a leaderboard with ranks among its own entries.

    Args:
        board: Some rows of what ``leaderboard`` gives.
        also: Imported entries that are ranked too.
    """
    groups = board.assign(value=board["value"].where(ranked_rows(board, also))).groupby(
        ["dataset", "conditions", "metric", "eval_size"], dropna=False
    )
    return board.assign(rank=groups["value"].rank(ascending=False, method="min").astype("Int64"))


def ranked_rows(board: pd.DataFrame, also: Collection[EntryKey] = ()) -> pd.Series:
    """Which rows of a leaderboard have a place in the ranking: imported ones only where nothing else is, or ``also``.

    Args:
        board: Some rows of what ``leaderboard`` gives.
        also: Imported entries that are ranked too.
    """
    own = board["evidence"] != "imported"
    alone = ~own.groupby([board["dataset"], board["conditions"]]).transform("any").astype(bool)
    asked = np.array([key_of(row) in also for row in board[KEY].to_dict("records")], bool) if also else False
    kept: pd.Series = own | alone | asked
    return kept


def standings(
    board: pd.DataFrame,
    metrics: Sequence[str],
    rank_by: str,
    differences: Differences,
    entries: Mapping[EntryKey, Entry],
) -> pd.DataFrame:
    """One row per entry: rank, value and interval in one metric, the other metrics, and what to know of it.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        metrics: Names of the metrics to show.
        rank_by: The metric that decides the rank; entries without a value in it come last.
        differences: The entries held against one another in that metric.
        entries: The entries by key.

    Returns:
        name, rank, group, interval, the metrics in percent (blank where missing), shots, n_seeds, n_categories,
        n, seen, remarks, whose, reason (of a blank in ``rank_by``).
    """
    rows: list[dict[str, Any]] = []
    for _, part in board.groupby(KEY, sort=False):
        by_metric: dict[str, dict[str, Any]] = {row["metric"]: row for row in _records(part)}
        if rank_by not in by_metric:
            continue
        leading = by_metric[rank_by]
        key = key_of(leading)
        entry = entries.get(key)
        rows.append(
            {
                "name": leading["name"],
                "rank": leading["rank"],
                "group": differences.letters.get(key, ""),
                "interval": interval_text(leading["low"], leading["high"]),
                **{name: 100 * by_metric[name]["value"] if name in by_metric else None for name in metrics},
                "shots": int(leading["shots"]),
                **{column: leading[column] for column in ("n_seeds", "n_categories", "n")},
                "seen": leading["seen"],
                "remarks": "; ".join(entry.remarks) if entry else "",
                "whose": entry.evidence if entry else "measured",
                "reason": _reason(leading),
            }
        )
    columns = [
        "name", "rank", "group", "interval", *metrics, "shots", "n_seeds", "n_categories", "n", "seen", "remarks",
        "whose", "reason",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns).sort_values(["rank", "name"], ignore_index=True)
    return frame.astype({"rank": "Int64", **dict.fromkeys(metrics, float)})


def rank_moves(board: pd.DataFrame, metrics: Sequence[str]) -> RankMoves:
    """Ranks of the entries that have a value in all of some metrics, among one another.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        metrics: Names of the metrics; the first one gives the order.
    """
    kept = board[board["metric"].isin(list(metrics))]
    complete = kept.groupby(KEY)["value"].transform(lambda values: values.notna().sum()) == len(metrics)
    left_out = tuple(dict.fromkeys(kept.loc[~complete, "name"]))
    kept = kept[complete].copy()
    order = {name: place for place, name in enumerate(metrics)}
    kept["order"] = kept["metric"].map(order)
    kept = kept.sort_values(["order", "value", "name"], ascending=[True, False, True], kind="stable")
    within = kept.groupby("order")["value"]
    kept["rank"] = within.rank(ascending=False, method="min").astype(int)
    kept["place"] = kept.groupby("order").cumcount() + 1
    columns = [*KEY, "name", "metric", "value", "rank", "place"]
    return RankMoves(kept[columns].reset_index(drop=True), left_out)


def across_data_sets(boards: Mapping[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """One metric for each entry and data set, in percent; nothing is averaged over data sets.

    Args:
        boards: Leaderboards by data set, as ``leaderboard`` gives them.
        metric: Name of the metric.

    Returns:
        name, then one column for each data set; the entries by their value on the first.
    """
    parts = [
        board[board["metric"] == metric].assign(dataset=dataset)[["name", "dataset", "value"]]
        for dataset, board in boards.items()
    ]
    every = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["name", "dataset", "value"])
    wide = every.pivot_table(index="name", columns="dataset", values="value", aggfunc="first", dropna=False)
    wide = wide.reindex(columns=list(boards)) * 100
    return wide.sort_values(list(boards), ascending=False).reset_index().rename_axis(columns=None)


def interval_text(low: float, high: float) -> str:
    """An interval of fractions, in percent; empty where there is none.

    >>> interval_text(0.61, 0.734)
    '61.0 – 73.4'
    """
    return "" if pd.isna(low) or pd.isna(high) else f"{100 * low:.1f} – {100 * high:.1f}"


def _of_entries(means: pd.DataFrame, entries: Mapping[str, Entry], conditions: str) -> pd.DataFrame:
    """Means with what tells the entries apart that they are of."""
    own = [entries[run] for run in means["run_id"]] if entries else []
    return means.assign(
        conditions=conditions,
        protocol=[entry.protocol for entry in own] if own else "",
        title=[entry.title for entry in own] if own else "",
        name=[entry.name for entry in own] if own else "",
        evidence=[entry.evidence for entry in own] if own else "",
        seen=[entry.seen for entry in own] if own else "",
    )


def _macro_mean(group: pd.DataFrame, absent: Sequence[str], blank: str) -> dict[str, object]:
    values = group["value"].to_numpy(dtype=float)
    empty = np.isnan(values)
    reasons = [f"{name} is not finished" for name in absent]
    reasons += [
        f"{name}: {reason}" if isinstance(reason, str) else f"{name} is blank"
        for name, reason in zip(group.loc[empty, "category"], group.loc[empty, "reason"], strict=True)
    ]
    used = values[~empty]
    total = len(values) + len(absent)
    reason = f"{len(reasons)} of {total} categories have no value ({reasons[0]})" if reasons else None
    if len(reasons) == total and not absent and group["reason"].nunique() == 1:
        reason = str(group["reason"].iloc[0])  # one reason for all: said once
    nan = float("nan")
    if len(used) == 0 or (reasons and blank == "propagate"):
        return {
            "value": nan, "low": nan, "high": nan, "n_categories": len(used), "n": int(group["n"].sum()),
            "reason": reason or "no categories", "by_category": {},
        }  # fmt: skip
    known = group.loc[~empty]
    mean = mean_interval(used.tolist())
    low, high = (mean.low, mean.high) if len(used) > 1 else (float(known["low"].iloc[0]), float(known["high"].iloc[0]))
    return {
        "value": mean.value, "low": low, "high": high, "n_categories": len(used), "n": int(known["n"].sum()),
        "reason": reason, "by_category": dict(zip(known["category"], used.tolist(), strict=True)),
    }  # fmt: skip


def _over_seeds(seeds: pd.DataFrame) -> tuple[float, float]:
    """Ends of the interval of a mean over seeds and categories."""
    values: dict[str, list[float]] = {}
    for by_category in seeds["by_category"]:
        for name, value in by_category.items():
            values.setdefault(name, []).append(value)
    if len(values) < 2:
        low, high = (seeds[end].to_numpy(dtype=float) for end in ("low", "high"))
        return float(low.mean()), float(high.mean())
    mean = mean_interval([float(np.mean(one)) for one in values.values()])
    return mean.low, mean.high


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _reason(row: Mapping[str, Any]) -> str:
    if pd.notna(row["value"]):
        return ""
    return str(row["reason"]) if isinstance(row["reason"], str) else "Not computed."
