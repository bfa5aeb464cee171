"""Tables of what is published on a benchmark: leaderboard, cells, the claims behind a number; with measured beside it.

Nothing is averaged over claims, and nothing is mixed with what was measured but in ``side_by_side``, which keeps each
row's evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import (
    AUTHORS,
    EVERYTHING,
    KIND_MARKS,
    KIND_NAMES,
    UNASKED,
    Claim,
    Wanted,
    span,
    span_text,
)
from vlmad_core.analysis.entries import Comparison, Entry, key_of
from vlmad_core.analysis.published import PublishedSet, line_id, reported_label, wanted_claims
from vlmad_core.analysis.reported import METRIC_NAMES
from vlmad_core.cards import find_card
from vlmad_core.metrics.spec import MEAN


def published_board(
    one: PublishedSet,
    metrics: Sequence[str],
    rank_by: str,
    *,
    shots: int | None = None,
    category: str = MEAN,
    wanted: Wanted = UNASKED,
) -> pd.DataFrame:
    """One row per entry: the values that stand, with the re-runs beside; ranked in one metric.

    Args:
        one: The set.
        metrics: Metrics to show; entries without a claim in any of them are left out.
        rank_by: The metric that decides the rank; entries without a value in it come last and have no rank.
        shots: Only entries with this number of references; None for all.
        category: A category, or ``mean``.
        wanted: Which claims.

    Returns:
        line (id), method, name, rank, the metrics in percent (blank where not reported), ``kind`` of the value in
        ``rank_by`` in words, reruns (their range in ``rank_by`` with its sources, in words), low, high (of the re-runs,
        fractions, NaN without), claims (number in ``rank_by``), shots, seen, trained_on, backbone, year, citation,
        evidence.
    """
    rows: list[dict[str, Any]] = []
    for entry in one.entries:
        if shots is not None and entry.shots != shots:
            continue
        found = {name: wanted_claims(entry, name, category, wanted) for name in metrics}
        if not any(found.values()):
            continue
        ranked = found.get(rank_by, ())
        first = ranked[0] if ranked else next(claims[0] for claims in found.values() if claims)
        runs = span(ranked)
        rows.append(
            {
                "line": line_id(entry),
                "method": entry.method,
                "name": entry.name,
                **{name: 100 * claims[0].value if claims else math.nan for name, claims in found.items()},
                "kind": KIND_NAMES[ranked[0].kind] if ranked else "",
                "reruns": span_text(ranked),
                "low": runs[0] if runs else math.nan,
                "high": runs[1] if runs else math.nan,
                "claims": len(ranked),
                "shots": entry.shots,
                "seen": entry.seen,
                "trained_on": ", ".join(entry.trained_on) or ("nothing" if entry.seen == "no" else "not said"),
                "backbone": first.backbone or "not said",
                "year": first.year,
                "citation": first.citation,
                "evidence": entry.evidence,
            }
        )
    columns = [
        "line", "method", "name", *metrics, "kind", "reruns", "low", "high", "claims", "shots", "seen", "trained_on",
        "backbone", "year", "citation", "evidence",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns).astype({**dict.fromkeys(metrics, float), "year": "Int64"})
    frame.insert(3, "rank", _ranks(frame[rank_by]))
    return frame.sort_values(["rank", "name"], ignore_index=True)


def best_published(one: PublishedSet, metric: str, shots: int = 0) -> Mapping[Any, Any] | None:
    """The row of the board with the highest of the authors' own values, not trained on the data; None without one."""
    board = published_board(one, [metric], metric, shots=shots, wanted=Wanted(kinds=AUTHORS))
    fair = board[(board["seen"] != "yes") & board["rank"].notna()]
    return fair.to_dict("records")[0] if len(fair) else None


def leaders(one: PublishedSet) -> pd.DataFrame:
    """For each number of references and metric, the row that ``best_published`` finds.

    Returns:
        shots, metric (its label), name, value (percent), kind, citation, seen.
    """
    rows = [
        {
            "shots": shots,
            "metric": reported_label(metric),
            "value": best[metric],
            **{name: best[name] for name in ("name", "kind", "citation", "seen")},
        }
        for shots in one.shots
        for metric in one.metrics
        if (best := best_published(one, metric, shots)) is not None
    ]
    return pd.DataFrame(rows, columns=["shots", "metric", "name", "value", "kind", "citation", "seen"])


def published_shots(one: PublishedSet, metric: str, category: str, wanted: Wanted = UNASKED) -> pd.DataFrame:
    """A metric over the number of references, of the methods that are reported with any.

    Returns:
        method (id of the entry, the same over all numbers of references), preset, title, shots, value, sd (fractions;
        NaN where the source gives none), note and kind (whose number), citation; the methods this program has first,
        then those reported with the most numbers of references.
    """
    rows: list[dict[str, Any]] = []
    for entry in one.entries:
        claims = wanted_claims(entry, metric, category, wanted)
        if claims:
            kind, citation = KIND_NAMES[claims[0].kind], claims[0].citation
            rows.append(
                {"method": entry.id, "preset": "canonical", "title": entry.title, "shots": entry.shots}
                | {"value": claims[0].value, "sd": claims[0].std, "note": f"{kind}: {citation}"}
                | {"kind": kind, "citation": citation, "known": find_card(entry.method) is not None}
            )
    columns = ["method", "preset", "title", "shots", "value", "sd", "note", "kind", "citation", "known"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float, "sd": float})
    few = frame[frame["method"].isin(frame.loc[frame["shots"] > 0, "method"])]
    few = few.assign(points=few.groupby("method")["shots"].transform("nunique"))
    ordered = few.sort_values(["known", "points", "method", "shots"], ascending=[False, False, True, True])
    return ordered.drop(columns=["known", "points"]).reset_index(drop=True)


def lines_with_cells(one: PublishedSet, metric: str, shots: int, wanted: Wanted = UNASKED) -> tuple[Entry, ...]:
    """The entries that report categories in a metric: most categories first, of these the methods this program has."""
    categories = one.categories_in(metric, shots)
    counts = {
        entry: sum(bool(wanted_claims(entry, metric, name, wanted)) for name in categories)
        for entry in one.entries
        if entry.shots == shots
    }
    found = (entry for entry, count in counts.items() if count)
    return tuple(sorted(found, key=lambda entry: (-counts[entry], find_card(entry.method) is None, entry.title)))


def published_cells(
    one: PublishedSet, metric: str, shots: int, wanted: Wanted = UNASKED, lines: Sequence[str] | None = None
) -> pd.DataFrame:
    """The values that stand for each category and entry, and the means as reported; as ``entries.cells`` gives them.

    Args:
        one: The set.
        metric: Name of the metric.
        shots: Number of references.
        wanted: Which claims.
        lines: Only entries with these ids, in this order; None for all of ``lines_with_cells``.

    Returns:
        category (``mean`` first), line, title, value, low, high (NaN), n (0), n_seeds (0), reason (of a blank; else
        whose number it is), mark (``*`` for a re-run, ``†`` for second hand).
    """
    categories = one.categories_in(metric, shots)
    by_id = {line_id(entry): entry for entry in one.entries if entry.shots == shots}
    lines = [line_id(entry) for entry in lines_with_cells(one, metric, shots, wanted)] if lines is None else lines
    rows: list[dict[str, Any]] = []
    for key in lines:
        entry = by_id[key]
        for category in (MEAN, *categories):
            claims = wanted_claims(entry, metric, category, wanted)
            rows.append(
                {"category": category, "line": key, "title": entry.title, "value": math.nan, "low": math.nan}
                | {"high": math.nan, "n": 0, "n_seeds": 0, "reason": "No source gives this number.", "mark": ""}
                | (_cell(claims) if claims else {})
            )
    columns = ["category", "line", "title", "value", "low", "high", "n", "n_seeds", "reason", "mark"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})
    order = {name: place for place, name in enumerate((MEAN, *categories))}
    return frame.sort_values("category", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def claims_table(entry: Entry, metric: str, category: str = MEAN, wanted: Wanted = EVERYTHING) -> pd.DataFrame:
    """Every claim on one number, the one that stands first.

    Returns:
        value, std (percent, NaN where missing), kind (in words), citation, location, variant, backbone, trained_on,
        note, url (None where unknown).
    """
    rows = [
        {
            "value": 100 * claim.value,
            "std": 100 * claim.std,
            "kind": KIND_NAMES[claim.kind],
            "citation": claim.citation,
            "location": claim.location if claim.stated else f"{claim.location}; mean over its categories, made here",
            "variant": claim.variant,
            "backbone": claim.backbone or "not said",
            "trained_on": claim.training_data.replace("+", ", ") or "not said",
            "note": claim.note,
            "url": claim.url,
        }
        for claim in wanted_claims(entry, metric, category, wanted)
    ]
    columns = ["value", "std", "kind", "citation", "location", "variant", "backbone", "trained_on", "note", "url"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "std": float})


def side_by_side(
    board: pd.DataFrame,
    measured: Iterable[tuple[Comparison, pd.DataFrame]],
    rank_by: str,
    *,
    shots: int | None = None,
    total: int | None = None,
) -> pd.DataFrame:
    """Reported rows and measured ones in one ranking, each with its evidence; nothing is averaged.

    Args:
        board: As ``published_board`` gives it.
        measured: Comparisons on the same images with their leaderboards (``vlmad_core.analysis.leaderboard``).
        rank_by: The metric that decides the rank.
        shots: Only entries with this number of references; None for all.
        total: How many categories the reported means are over, to say where a measured one is over fewer.

    Returns:
        The board with the measured rows among its own (their ``line`` is empty), and all ranked together.
    """
    metrics = [name for name in METRIC_NAMES if name in board.columns]
    rows = board.to_dict("records")
    several = list(measured)
    tags = _told_apart([one for one, _ in several])
    for (one, table), tag in zip(several, tags, strict=True):
        by_entry: dict[Any, dict[str, dict[Any, Any]]] = {}
        for row in table[table["metric"].isin(metrics)].to_dict("records"):
            by_entry.setdefault(key_of(row), {})[str(row["metric"])] = row
        for entry in one.entries(shots):
            found = by_entry.get(entry.key, {})
            parts = max((int(row["n_categories"]) for row in found.values()), default=0)
            few = f", {parts} of {total} categories" if total and parts < total else ""
            rows.append(
                {
                    "line": "",
                    "method": entry.method,
                    "name": f"{entry.name}, {tag}" if tag else entry.name,
                    **{name: 100 * found[name]["value"] if name in found else math.nan for name in metrics},
                    "kind": f"{entry.evidence} here{few}",
                    "reruns": "",
                    "low": math.nan,
                    "high": math.nan,
                    "claims": 0,
                    "shots": entry.shots,
                    "seen": entry.seen,
                    "trained_on": ", ".join(entry.trained_on),
                    "backbone": entry.backbone,
                    "year": pd.NA,
                    "citation": "",
                    "evidence": entry.evidence,
                }
            )
    together = pd.DataFrame(rows, columns=board.columns).astype({**dict.fromkeys(metrics, float), "year": "Int64"})
    together["rank"] = _ranks(together[rank_by])
    return together.sort_values(["rank", "name"], ignore_index=True)


def ranking_rows(board: pd.DataFrame, metric: str, most: int) -> pd.DataFrame:
    """The first rows of a board as ``vlmad_core.figures.ranking.ranking_chart`` draws them.

    Bars are re-runs; names of numbers that are not the authors' own carry their mark.

    Args:
        board: As ``published_board`` or ``side_by_side`` gives it.
        metric: The metric it is ranked in.
        most: How many rows at most.
    """
    rows = board[board["rank"].notna()].head(most)
    marks = {name: KIND_MARKS[kind] for kind, name in KIND_NAMES.items()}
    names = [
        {"reported": f"{name}{marks.get(kind, '')}", "measured": f"{name} (measured)"}.get(evidence, name)
        for name, kind, evidence in zip(rows["name"], rows["kind"], rows["evidence"], strict=True)
    ]
    shown = rows[["method", "low", "high", "rank"]].assign(name=names, value=rows[metric] / 100, group="", reason=None)
    return shown[["method", "name", "value", "low", "high", "rank", "reason", "group"]]


def _told_apart(measured: Sequence[Comparison]) -> list[str]:
    """What tells some comparisons apart: nothing for a single one, else data set, backbone or conditions."""
    if len(measured) < 2:
        return [""] * len(measured)
    for tags in (
        [one.dataset for one in measured],
        [str(one.backbone.get("title") or one.backbone.get("id")) for one in measured],
    ):
        if len(set(tags)) == len(tags):
            return tags
    return [f"{one.dataset}, {one.conditions}" for one in measured]


def _ranks(values: pd.Series) -> pd.Series:
    return values.rank(ascending=False, method="min").astype("Int64")


def _cell(claims: Sequence[Claim]) -> dict[str, Any]:
    first, more = claims[0], len(claims) - 1
    others = f"; {more} more claim{'' if more == 1 else 's'}" if more else ""
    return {
        "value": first.value,
        "reason": f"{KIND_NAMES[first.kind]}: {first.citation}{others}",
        "mark": KIND_MARKS[first.kind],
    }
