"""Where sources disagree on one number: all such numbers by rule, and the widest gaps one by one.

Nothing is resolved here: every claim is shown with its source, and where in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import KIND_NAMES
from vlmad_core.analysis.reported import reported_leaderboard
from vlmad_core.analysis.reproduction import knowledge
from vlmad_core.analysis.sources import Source
from vlmad_core.datasets.catalogue import official_sets
from vlmad_core.errors import StoreError


@dataclass(frozen=True)
class Contradiction:
    """One number that sources state differently.

    Attributes:
        method: Method, as sources call it.
        dataset: Key of the data set.
        title: The data set in words.
        shots: Number of references.
        metric: Metric.
        claims: value (a fraction), whose, variant, training_data, citation, source, location, url, note; highest
            first.
    """

    method: str
    dataset: str
    title: str
    shots: int
    metric: str
    claims: pd.DataFrame

    @property
    def low(self) -> float:
        """The lowest claim, a fraction."""
        return float(self.claims["value"].min())

    @property
    def high(self) -> float:
        """The highest claim, a fraction."""
        return float(self.claims["value"].max())


def contradictions(reported: pd.DataFrame, sources: Mapping[str, Source]) -> tuple[Contradiction, ...]:
    """The contradictions that ``reproduction.yaml`` names, each with all its claims, those at second hand too.

    Args:
        reported: As ``load_reported`` gives it.
        sources: As ``load_sources`` gives them.

    Raises:
        StoreError: If the table has no two differing claims on one of them.
    """
    found = []
    for named in knowledge()["contradictions"]:
        method, dataset, shots, metric = (named[name] for name in ("method", "dataset", "shots", "metric"))
        of_method = reported[reported["method"] == method]
        board = reported_leaderboard(
            of_method, dataset, metrics=[metric], shots=shots, sources=sources, second_hand=True
        )
        if board["value"].nunique() < 2:
            raise StoreError(
                f"The reported results do not disagree on {metric} of {method} on {dataset} with {shots} references.",
                "Restore results/reported/results.csv.",
            )
        claims = board.assign(
            whose=board["whose"].map(KIND_NAMES),
            url=board["source"].map({key: source.url for key, source in sources.items()}),
        )
        columns = ["value", "whose", "variant", "training_data", "citation", "source", "location", "url", "note"]
        title = official_sets()[dataset].title
        found.append(Contradiction(method, dataset, title, shots, metric, claims[columns].reset_index(drop=True)))
    return tuple(found)


def contradictions_table(found: tuple[Contradiction, ...]) -> pd.DataFrame:
    """One row each: method, title, shots, metric, low, high (percent), spread (points), claims (how many)."""
    rows = [
        (one.method, one.title, one.shots, one.metric, 100 * one.low, 100 * one.high, 100 * (one.high - one.low),
         len(one.claims))
        for one in found
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "title", "shots", "metric", "low", "high", "spread", "claims"])


def conflicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Values that sources state differently, by more than rounding, for what should be one number.

    Held against each other are the authors' own numbers and quotations of them (not other people's runs), for the
    same data set, category, method, shots, metric and training data, ablations and other backbones left out (one that
    is not said may be any).

    Returns:
        The rows concerned, with the column ``spread``: largest minus smallest value, a fraction.
    """
    claims = frame[(frame["kind"] == "main") & (frame["origin"] != "reproduction")]
    keys = ["dataset", "category", "method", "shots", "metric", "training_data"]
    values = claims.groupby(keys, dropna=False)["value"]
    differing = claims[values.transform("max") > values.transform("min")]
    groups: dict[tuple[Any, ...], list[tuple[Any, float, float, str]]] = {}
    columns = [differing[name] for name in (*keys, "value", "decimals", "backbone")]
    for index, *key, value, decimals, backbone in zip(differing.index, *columns, strict=True):
        tower = str(backbone).partition(" (")[0]
        groups.setdefault(tuple(key), []).append((index, float(value), _rounding(int(decimals)), tower))
    spreads: dict[Any, float] = {}
    for rows in groups.values():
        for index, value, rounding, tower in rows:
            gaps = [
                abs(value - other)
                for _, other, others_rounding, others_tower in rows
                if (tower == others_tower or not tower or not others_tower)
                and abs(value - other) > rounding + others_rounding + 1e-9
            ]
            if gaps:
                spreads[index] = max(gaps)
    return claims.loc[sorted(spreads)].assign(spread=pd.Series(spreads, dtype=float))


def _rounding(decimals: int) -> float:
    """Half a unit of the last printed digit of a percentage, as a fraction."""
    return 0.5 * 10.0 ** -(decimals + 2)
