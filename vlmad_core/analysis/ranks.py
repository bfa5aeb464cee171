"""Names of lines, standings in a metric, and how ranks move from one metric to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.comparison import Line
from vlmad_core.analysis.groups import Groups, LineKey, line_key
from vlmad_core.analysis.notes import LineNotes
from vlmad_core.analysis.tables import interval_text

KEY = ["method", "preset", "shots", "protocol"]
MEASURED = "measured"
REPORTED = "reported"


@dataclass(frozen=True)
class RankMoves:
    """Ranks of the same lines in several metrics.

    Attributes:
        frame: method, preset, shots, name, metric, value, rank (ties share the better one), place (no ties: lines
            of equal rank stand side by side); lines by their rank in the first metric.
        left_out: Names of the lines that lack a value in one of the metrics.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...]


def line_name(title: str, preset: str, shots: int) -> str:
    """A line in a few words, with what tells it from others of the same method.

    >>> line_name("WinCLIP+", "accurate", 2), line_name("CLIP-AC", "canonical", 0)
    ('WinCLIP+ (accurate), 2 ref.', 'CLIP-AC')
    """
    name = title if preset == "canonical" or f"({preset})" in title else f"{title} ({preset})"
    return f"{name}, {shots} ref." if shots else name


def line_names(lines: Iterable[Line]) -> dict[LineKey, str]:
    """Lines in a few words each, by what they are of."""
    return {line_key(line): line_name(line.title, line.preset, line.shots) for line in lines}


def named(board: pd.DataFrame, names: Mapping[LineKey, str]) -> pd.DataFrame:
    """The lines of a leaderboard that have a name, with it in a column ``name``.

    Args:
        board: As ``leaderboard`` gives it.
        names: Names by what a line is of; others are left out (the same weights measured under a second name).
    """
    found = [names.get(_key(row), "") for row in board[KEY].to_dict("records")]
    return board.assign(name=found)[[bool(name) for name in found]]


def titled(board: pd.DataFrame, lines: Iterable[Line]) -> pd.DataFrame:
    """The same leaderboard with the titles that tell lines of one method apart by what they were trained on.

    Args:
        board: As ``leaderboard`` gives it.
        lines: Lines of its comparisons; what is none of them keeps its title.
    """
    titles = {line_key(line): line.title for line in lines}
    own = [titles.get(_key(row), row["title"]) for row in board[[*KEY, "title"]].to_dict("records")]
    return board.assign(title=own)


def standings(
    board: pd.DataFrame,
    metrics: Sequence[str],
    rank_by: str,
    groups: Groups,
    notes: Mapping[LineKey, LineNotes],
) -> pd.DataFrame:
    """One row per line: rank, value and interval in one metric, the other metrics, and what to know of it.

    Args:
        board: As ``named`` gives it, for one data set under equal conditions.
        metrics: Names of the metrics to show.
        rank_by: The metric that decides the rank; lines without a value in it come last.
        groups: Groups in that metric.
        notes: Notes by line.

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
        line = _key(leading)
        note = notes.get(line)
        rows.append(
            {
                "name": leading["name"],
                "rank": leading["rank"],
                "group": groups.letters.get(line, ""),
                "interval": interval_text(leading["low"], leading["high"]),
                **{name: 100 * by_metric[name]["value"] if name in by_metric else None for name in metrics},
                "shots": int(leading["shots"]),
                **{column: leading[column] for column in ("n_seeds", "n_categories", "n")},
                "seen": note.seen if note else "not recorded",
                "remarks": "; ".join(note.remarks) if note else "",
                "whose": MEASURED,
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
    """Ranks of the lines that have a value in all of some metrics, among one another.

    Args:
        board: As ``named`` gives it, for one data set under equal conditions.
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
    """One metric for each line and data set, in percent; nothing is averaged over data sets.

    Args:
        boards: Leaderboards by data set, as ``named`` gives them.
        metric: Name of the metric.

    Returns:
        name, then one column for each data set; the lines by their value on the first.
    """
    parts = [
        board[board["metric"] == metric].assign(dataset=dataset)[["name", "dataset", "value"]]
        for dataset, board in boards.items()
    ]
    every = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["name", "dataset", "value"])
    wide = every.pivot_table(index="name", columns="dataset", values="value", aggfunc="first", dropna=False)
    wide = wide.reindex(columns=list(boards)) * 100
    return wide.sort_values(list(boards), ascending=False).reset_index().rename_axis(columns=None)


def _key(row: Mapping[Any, Any]) -> LineKey:
    return str(row["method"]), str(row["preset"]), int(row["shots"]), str(row["protocol"])


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _reason(row: Mapping[str, Any]) -> str:
    if pd.notna(row["value"]):
        return ""
    return str(row["reason"]) if isinstance(row["reason"], str) else "Not computed."
