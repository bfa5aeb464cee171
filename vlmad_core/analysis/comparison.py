"""What a viewer compares: runs of one data set under equal conditions, their cells and leads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.aggregate import mean_over_seeds
from vlmad_core.analysis.conditions import is_guest, shown_under
from vlmad_core.metrics.spec import MEAN
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord


@dataclass(frozen=True)
class Line:
    """One competitor: a method with its preset and number of references, over all its seeds.

    Attributes:
        method: Name of the method.
        preset: Name of its preset.
        shots: Number of normal references per category.
        title: How it is shown.
        runs: Its runs, one per seed, in order of seeds.
        variant: What tells it from another line of the same method, preset and shots: the data its parameters
            were trained on, or the hash of its protocol; empty for the first of them.
    """

    method: str
    preset: str
    shots: int
    title: str
    runs: tuple[RunRecord, ...]
    variant: str = ""

    @property
    def id(self) -> str:
        """``winclip``, with another preset ``winclip:accurate``, with other parameters ``april_gan@bundled_a``."""
        name = self.method if self.preset == "canonical" else f"{self.method}:{self.preset}"
        return f"{name}@{self.variant}" if self.variant else name

    def same_as(self, other: Line) -> bool:
        """Whether it is the same method, preset, number of references and parameters."""
        return (self.id, self.shots) == (other.id, other.shots)

    def run_with(self, category: str) -> RunRecord | None:
        """The run of the lowest seed that has finished a category, or None."""
        return next((run for run in self.runs if category in run.units), None)


@dataclass(frozen=True)
class Comparison:
    """Runs that may be ranked together: one data set, and equal in all but the method; and vision-only guests.

    Attributes:
        dataset: Name of the data set.
        conditions: Eight hex digits that stand for everything that is equal.
        runs: The runs.
    """

    dataset: str
    conditions: str
    runs: tuple[RunRecord, ...]

    @property
    def backbone(self) -> Mapping[str, Any]:
        """What the protocol says of the backbone."""
        return self.runs[0].protocol.backbone

    @property
    def mode(self) -> str:
        """``matched`` or ``as_published``."""
        return self.runs[0].mode

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that any of the runs has finished, sorted."""
        return tuple(sorted({category for run in self.runs for category in run.units}))

    @property
    def shots(self) -> tuple[int, ...]:
        """Numbers of references that occur, sorted."""
        return tuple(sorted({run.key.shots for run in self.runs}))

    def lines(self, shots: int | None = None) -> tuple[Line, ...]:
        """The competitors, by shots and then by name; only those of so many shots if given."""
        groups: dict[tuple[str, str, int], dict[str, dict[int, RunRecord]]] = {}
        for run in self.runs:
            if shots is None or run.key.shots == shots:
                # The same weights may have been measured under two names; one of them is enough.
                protocols = groups.setdefault((run.key.method, run.key.preset, run.key.shots), {})
                seeds = protocols.setdefault(run.protocol.hash, {})
                known = seeds.get(run.key.seed)
                if known is None or len(run.units) > len(known.units):
                    seeds[run.key.seed] = run
        lines = []
        for (method, preset, k), protocols in groups.items():
            variants: set[str] = set()
            for seeds in sorted(protocols.values(), key=_standing):
                runs = tuple(seeds[seed] for seed in sorted(seeds))
                variant = _variant(runs[0], variants) if variants else ""
                variants.add(variant)
                title = runs[0].title
                if preset != "canonical" and f"({preset})" not in title:
                    title = f"{title} ({preset})"
                title = f"{title}, {_told_apart(runs[0], variant)}" if variant else title
                lines.append(Line(method, preset, k, title, runs, variant))
        return tuple(sorted(lines, key=lambda line: (line.shots, line.method, line.preset, line.variant)))


def training_data(run: RunRecord) -> tuple[str, ...]:
    """Data sets that a run's own parameters were trained on, sorted; empty if none are recorded."""
    trained: Any = run.provenance.data.get("trained")
    listed = trained.get("training_data") if isinstance(trained, Mapping) else None
    return tuple(sorted(str(name) for name in listed or ()))


def _standing(seeds: Mapping[int, RunRecord]) -> tuple[Any, ...]:
    """Of several protocols of one line: not trained on this data set first, then the most finished units."""
    first = seeds[min(seeds)]
    own = first.key.dataset in training_data(first)
    return own, -sum(len(run.units) for run in seeds.values()), first.protocol.hash


def _variant(run: RunRecord, taken: set[str]) -> str:
    name = "+".join(training_data(run))
    return name if name and name not in taken else run.protocol.hash


def _told_apart(run: RunRecord, variant: str) -> str:
    return f"protocol {variant}" if variant == run.protocol.hash else f"trained on {variant.replace('+', ', ')}"


def comparisons(store: Store, dataset: str | None = None) -> tuple[Comparison, ...]:
    """Group a store's runs into what may be ranked together.

    Args:
        store: The results; runs without a finished unit are left out.
        dataset: Only this data set.

    Returns:
        Per data set, those with the most methods and then the most finished units first.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    chosen = [run for run in store.runs if run.units and dataset in (None, run.key.dataset)]
    places = shown_under(chosen)
    for run in sorted(chosen, key=is_guest):  # guests last: the first run speaks for its comparison
        for conditions in places[run.id]:
            groups.setdefault((run.key.dataset, conditions), []).append(run)
    found = [Comparison(name, conditions, tuple(runs)) for (name, conditions), runs in groups.items()]

    def order(one: Comparison) -> tuple[Any, ...]:
        units = sum(len(run.units) for run in one.runs)
        return one.dataset, -len(one.lines()), -units, one.conditions

    return tuple(sorted(found, key=order))


def cells(store: Store, lines: Sequence[Line], metric: str, eval_size: int | None = 256) -> pd.DataFrame:
    """A metric for each category and line, as mean over seeds.

    Args:
        store: The results.
        lines: The competitors.
        metric: Name of the metric.
        eval_size: Map size of pixel metrics; ignored for image metrics.

    Returns:
        category, line (its id), title, value, low, high, n, n_seeds, reason; one row for each pair, also for
        those without a result, whose reason says so.
    """
    frame = store.metrics(run.id for line in lines for run in line.runs)
    frame = frame[frame["metric"] == metric]
    frame = frame[frame["eval_size"].isna() | (frame["eval_size"] == eval_size)]
    categories = sorted({category for line in lines for run in line.runs for category in run.units})
    place = {run.id: number for number, line in enumerate(lines) for run in line.runs}
    found = dict(list(frame.groupby([frame["run_id"].map(place), "category"])))
    nothing = frame.iloc[:0]
    rows = [
        {"category": category, "line": line.id, "title": line.title, **_cell(found.get((k, category), nothing), line)}
        for k, line in enumerate(lines)
        for category in categories
    ]
    columns = ["category", "line", "title", "value", "low", "high", "n", "n_seeds", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})


def _cell(values: pd.DataFrame, line: Line) -> dict[str, Any]:
    numbers = values["value"].to_numpy(float)
    blank = {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "n_seeds": 0}
    if len(numbers) == 0:
        return {**blank, "reason": f"{line.title} has no finished result for this category."}
    if np.isnan(numbers).any():
        reasons = [reason for reason in values["reason"] if isinstance(reason, str)]
        return {**blank, "n": int(values["n"].min()), "reason": reasons[0] if reasons else "Not computed."}
    return {
        "value": float(numbers.mean()),
        "low": float(values["low"].to_numpy(float).mean()),
        "high": float(values["high"].to_numpy(float).mean()),
        "n": int(values["n"].min()),
        "n_seeds": len(numbers),
        "reason": None,
    }


def with_means(frame: pd.DataFrame, label: str = MEAN) -> pd.DataFrame:
    """Put the mean over categories of each line in front; blank, with the reason, where a category is blank.

    Args:
        frame: As ``cells`` or ``differences`` gives it.
        label: What the row is called in ``category``.
    """
    rows = []
    for (line, title), group in frame.groupby(["line", "title"], sort=False):
        blank = group[group["value"].isna()]
        reason = f"{len(blank)} of {len(group)} categories are blank." if len(blank) else None
        value = math.nan if len(blank) else float(group["value"].mean())
        rows.append(
            {"category": label, "line": line, "title": title, "value": value, "low": math.nan, "high": math.nan}
            | {"n": int(group["n"].sum()), "n_seeds": 0, "reason": reason}
        )
    return pd.concat([pd.DataFrame(rows, columns=frame.columns), frame], ignore_index=True)


def differences(frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Each cell's value minus that of a reference line in the same category; intervals are dropped.

    Args:
        frame: As ``cells`` gives it.
        reference: Id of the reference line.
    """
    base = frame[frame["line"] == reference].set_index("category")["value"]
    value = frame["value"] - frame["category"].map(base)
    lost = value.isna() & frame["value"].notna()
    reason = frame["reason"].where(~lost, "The method compared with has no value here.")
    return frame.assign(value=value, low=math.nan, high=math.nan, reason=reason)


@dataclass(frozen=True)
class Lead:
    """How far one line is ahead of another, over the categories both have.

    Attributes:
        difference: Mean over categories of first minus second, a fraction.
        low: Lower end of the 95% interval (categories resampled in pairs).
        high: Upper end.
        categories: Number of categories.
    """

    difference: float
    low: float
    high: float
    categories: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def lead(frame: pd.DataFrame, first: str, second: str, resamples: int = 2000) -> Lead | None:
    """Compare two lines category by category; None with fewer than two categories in common.

    Args:
        frame: As ``cells`` gives it.
        first: Id of a line.
        second: Id of another.
        resamples: Bootstrap resamples of the categories.
    """
    wide = frame.pivot_table(index="category", columns="line", values="value")
    if first not in wide.columns or second not in wide.columns:
        return None
    gaps = (wide[first] - wide[second]).dropna().to_numpy(float)
    if len(gaps) < 2:
        return None
    picks = np.random.default_rng(0).integers(0, len(gaps), size=(resamples, len(gaps)))
    low, high = np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])
    return Lead(float(gaps.mean()), float(low), float(high), len(gaps))


def winner(board: pd.DataFrame, metric: str) -> pd.Series | None:
    """The best line of a leaderboard in a metric, or None where no line has a value.

    Args:
        board: As ``leaderboard`` gives it, for one data set and one set of conditions.
        metric: Name of the metric.
    """
    rows = board[(board["metric"] == metric) & (board["rank"] == 1)]
    return None if rows.empty else rows.iloc[0]


def lines_frame(lines: Sequence[Line]) -> pd.DataFrame:
    """Lines as a table: id, method, preset, title, shots, seeds, categories finished."""
    rows = [
        {
            "line": line.id,
            "method": line.method,
            "preset": line.preset,
            "title": line.title,
            "shots": line.shots,
            "seeds": len(line.runs),
            "categories": min(len(run.units) for run in line.runs),
        }
        for line in lines
    ]
    return pd.DataFrame(rows)


__all__ = [
    "Comparison",
    "Lead",
    "Line",
    "cells",
    "comparisons",
    "differences",
    "lead",
    "lines_frame",
    "mean_over_seeds",
    "winner",
    "with_means",
]
