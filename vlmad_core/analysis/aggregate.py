"""Means over categories and seeds, and the leaderboard: computed from units by readers, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from vlmad_core.analysis.conditions import shown_under
from vlmad_core.store.reader import Store

RESAMPLES = 2000
"""Bootstrap resamples of the categories."""

LINE = [
    "run_id",
    "dataset",
    "method",
    "preset",
    "backbone",
    "mode",
    "shots",
    "seed",
    "level",
    "metric",
    "eval_size",
]
"""What one mean belongs to."""


def mean_over_categories(
    metrics: pd.DataFrame,
    categories: Iterable[str] | None = None,
    *,
    blank: Literal["propagate", "skip"] = "propagate",
    seed: int = 0,
) -> pd.DataFrame:
    """Macro mean of each metric over the categories of each run, with a 95% bootstrap interval.

    The interval resamples categories with replacement (percentile method); for a single category it is that
    category's own interval over images.

    Args:
        metrics: As ``Store.metrics`` gives them.
        categories: The categories to average over; None for all that a run has. A run that lacks one gets a
            blank with the reason.
        blank: ``propagate``: a mean is blank if one of its values is; ``skip``: it is over the others, and
            the reason says so.
        seed: Seed of the bootstrap.

    Returns:
        One row per run, metric and evaluation size: the columns of ``LINE`` and value, low, high,
        n_categories, n (images), reason.
    """
    wanted = None if categories is None else sorted(set(categories))
    rows = []
    for line, group in metrics.groupby(LINE, dropna=False, sort=True):
        chosen = group if wanted is None else group[group["category"].isin(wanted)]
        absent = [] if wanted is None else sorted(set(wanted) - set(chosen["category"]))
        rows.append({**dict(zip(LINE, line, strict=True)), **_macro_mean(chosen, absent, blank, seed)})
    columns = [*LINE, "value", "low", "high", "n_categories", "n", "reason"]
    frame = pd.DataFrame(rows, columns=columns)
    types = {"shots": "Int64", "seed": "Int64", "eval_size": "Int64", "n": "Int64", "n_categories": "Int64"}
    return frame.astype({**types, "value": "float64", "low": "float64", "high": "float64"})


def mean_over_seeds(means: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of what ``mean_over_categories`` gave, with the standard deviation between seeds.

    Low and high are the means of the seeds' limits. A blank seed makes the mean blank. Runs under different
    protocols are kept apart if ``means`` has a column ``protocol``.

    Returns:
        One row per line without its seed: value, sd (blank for one seed), low, high, n_seeds, n_categories,
        n, reason, run_ids (tuple).
    """
    extra = [name for name in ("protocol", "conditions", "title") if name in means.columns]
    keys = [name for name in LINE if name not in ("run_id", "seed")] + extra
    rows = []
    for line, group in means.groupby(keys, dropna=False, sort=True):
        values = group["value"].to_numpy(dtype=float)
        blank = np.isnan(values)
        row = dict(zip(keys, line, strict=True))
        row |= {
            "value": float("nan") if blank.any() else float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 and not blank.any() else float("nan"),
            "low": _mean_or_blank(group["low"]),
            "high": _mean_or_blank(group["high"]),
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
        What ``mean_over_seeds`` gives, with protocol, conditions and title, and ``rank``: 1 is best among
        the runs of one data set under equal conditions; blank values have no rank.
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
    places = shown_under(run for run in store.runs if run.units)
    frame = frame.assign(conditions=frame["run_id"].map(places)).explode("conditions")
    parts = []
    for (_, conditions), group in frame.groupby(["dataset", "conditions"], sort=True):
        wanted = sorted(set(group["category"])) if categories is None else categories
        parts.append(mean_over_categories(group, wanted, blank=blank).assign(conditions=str(conditions)))
    empty = mean_over_categories(frame).assign(conditions="")
    means = pd.concat(parts, ignore_index=True) if parts else empty
    records = {run.id: run for run in store.runs}
    means["protocol"] = [records[i].protocol.hash for i in means["run_id"]]
    means["title"] = [records[i].title for i in means["run_id"]]
    board = mean_over_seeds(means)
    board["value"] = board["value"].astype("float64")
    ranked = board.groupby(["dataset", "conditions", "metric", "eval_size"], dropna=False)["value"]
    board["rank"] = ranked.rank(ascending=False, method="min").astype("Int64")
    return board.sort_values(["dataset", "conditions", "level", "metric", "rank"], ignore_index=True)


def _macro_mean(
    group: pd.DataFrame, absent: Sequence[str], blank: str, seed: int
) -> dict[str, float | int | str | None]:
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
    if len(used) == 0 or (reasons and blank == "propagate"):
        return _row(
            float("nan"), float("nan"), float("nan"), len(used), int(group["n"].sum()), reason or "no categories"
        )
    if len(used) == 1:
        only = group.loc[~empty].iloc[0]
        return _row(float(used[0]), float(only["low"]), float(only["high"]), 1, int(only["n"]), reason)
    picks = np.random.default_rng(seed).integers(0, len(used), size=(RESAMPLES, len(used)))
    low, high = np.quantile(used[picks].mean(axis=1), [0.025, 0.975])
    images = int(group.loc[~empty, "n"].sum())
    return _row(float(used.mean()), float(low), float(high), len(used), images, reason)


def _row(
    value: float, low: float, high: float, categories: int, images: int, reason: str | None
) -> dict[str, float | int | str | None]:
    return {
        "value": value,
        "low": low,
        "high": high,
        "n_categories": categories,
        "n": int(images),
        "reason": reason,
    }


def _mean_or_blank(values: pd.Series) -> float:
    numbers = values.to_numpy(dtype=float)
    return float("nan") if np.isnan(numbers).any() else float(numbers.mean())
