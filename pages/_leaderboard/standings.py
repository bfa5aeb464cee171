"""The parts of the leaderboard of measured results: one ranking per task, ranks across metrics and data sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, frame, selection
from vlmad_core import paths
from vlmad_core.analysis.best import Differences
from vlmad_core.analysis.entries import Comparison, Entry, EntryKey
from vlmad_core.analysis.leaderboard import rank_again, standings
from vlmad_core.analysis.statistics import INTERVAL_NAMES, OVER_CATEGORIES
from vlmad_core.figures.ranking import SHORT, ranking_chart
from vlmad_core.metrics import METRICS

TASKS = {
    "image": ("Classification", "Is the part defective? One score for each image."),
    "pixel": ("Segmentation", "Where is the defect? One score for each pixel, held against the masks at 256 × 256."),
}
SEEN_HELP = (
    "Whether this data set is among what the backbone or the method's own parameters are recorded to have been "
    "trained on. Not recorded is not the same as no."
)


def metrics_of(board: pd.DataFrame, level: str) -> list[str]:
    """Metrics of a level that occur in a leaderboard, in the usual order."""
    return [name for name in METRICS if METRICS[name].level == level and name in set(board["metric"])]


def choose_imported(one: Comparison) -> list[EntryKey]:
    """A toggle that ranks imported entries too, where that is fair; which are ranked, and why others are not."""
    found = data.imported(one)
    fair = [key for key, allowed in found.items() if allowed]
    if not found:
        return []
    names = {key: selection.tidy(entry.name) for key, entry in data.entries(one).items()}
    ranked = bool(fair) and st.toggle(
        f"Rank imported results too ({len(fair)})", key="imported", bind="query-params",
        help="They were judged on the same images, by the same metrics and on maps of the same size; what made their "
             "scores is known from whoever imported them. Without it they stand below the ranking.",
    )  # fmt: skip
    for key, allowed in found.items():
        if not allowed:
            reason = selection.tidy(" ".join(allowed.reasons), 240)
            st.caption(f"{frame.EVIDENCE['imported']} **{names[key]}** stands below the ranking. {reason}")
    return fair if ranked else []


def show_task(
    one: Comparison, level: str, board: pd.DataFrame, keys: Sequence[EntryKey], categories: tuple[str, ...]
) -> None:
    """One ranking: the chosen metric as a figure, all metrics as a table, and what is not significantly different."""
    title, question = TASKS[level]
    st.subheader(title, anchor=level)
    names = metrics_of(board, level)
    if not names:
        st.caption("No metric of this kind was computed in these runs.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.caption(question, width="content")
        name = selection.choose(
            "metric", "Ranked by", names, frame.first_of(names, "aupro_30"), slot=level, known=list(METRICS),
            format_func=lambda n: METRICS[n].label, width=260,
        )  # fmt: skip
    spec = METRICS[name]
    gaps = data.differences(one, keys, name, categories)
    mark = data.signature(paths.stores())
    shown, blanks = _table(mark, board, tuple(names), name, tuple(keys), categories, gaps, data.entries(one))
    letters = dict(zip(shown["name"], shown["group"], strict=True))
    reasons = dict(zip(shown["name"], shown["reason"], strict=True))
    rows = board[board["metric"] == name]
    rows = rows.assign(group=rows["name"].map(letters), reason=rows["name"].map(reasons))
    if rows["value"].notna().any():
        columns = ["method", "name", "value", "low", "high", "rank", "reason", "group"]
        draw_ranking(rows[columns], spec.label, 0.5 if name.endswith("auroc") else None)
    st.dataframe(
        shown.drop(columns="reason"),
        hide_index=True,
        placeholder="–",
        column_order=_order(name, names, shown, several=gaps.tested),
        column_config={
            **_columns(blanks),
            "interval": st.column_config.TextColumn(
                "95% interval",
                help=f"Of {spec.label}: {INTERVAL_NAMES[OVER_CATEGORIES]} (bootstrap over images for one category).",
            ),
            "group": st.column_config.TextColumn("Group", help=gaps.note),
        },
        alt=f"{title}: all metrics of all methods in percent",
    )  # fmt: skip
    st.caption(f":material/join_inner: {selection.shown(gaps.note)}")
    for blank in shown[shown["reason"] != ""].to_dict("records"):
        name_of, reason = selection.tidy(str(blank["name"])), selection.tidy(str(blank["reason"]), 200)
        st.caption(f":material/remove: **{name_of}** has no place here: {reason}")


def draw_ranking(rows: pd.DataFrame, label: str, chance: float | None, bars: str = "95% interval") -> None:
    """The figure of a ranking."""
    alt = f"{label} of each method, best first; bars: {bars}"
    drawing.altair(ranking_chart, rows, label, chance=chance, bars=bars, alt=alt)


def reranked(board: pd.DataFrame, shots: str, also: Collection[EntryKey] = ()) -> pd.DataFrame:
    """The entries with this number of shots, ranked among themselves; all for ``all``. ``also``: imported ones too."""
    return rank_again(board[board["shots"] == int(shots)] if shots.isdigit() else board, also)


@st.cache_resource(max_entries=64, show_spinner=False)
def _table(
    mark: str,
    board: pd.DataFrame,
    names: tuple[str, ...],
    metric: str,
    keys: tuple[EntryKey, ...],
    categories: tuple[str, ...],
    _gaps: Differences,
    _entries: Mapping[EntryKey, Entry],
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table of a ranking, and for each metric why values are missing; ``_gaps`` follow from what goes before."""
    return standings(board, names, metric, _gaps, _entries), {one: _blanks(board, one) for one in names}


def _order(first: str, names: Sequence[str], shown: pd.DataFrame, *, several: bool) -> list[str]:
    """Columns of a ranking; those that say the same in every row are left out."""
    optional = ["n_seeds"] if len(set(shown["n_seeds"])) > 1 else []
    optional += ["remarks"] if shown["remarks"].str.len().gt(0).any() else []
    group = ["group"] if several else []
    others = [name for name in names if name != first]
    order = ["name", "rank", first, "interval", *group, *others, "seen", *optional, "n_categories", "n", "whose"]
    if shown["whose"].nunique() > 1:
        order.insert(1, order.pop())  # where they differ, it is the first thing to know
    return order


def _columns(blanks: Mapping[str, str]) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    percents = {
        name: number(SHORT[name], format="%.1f", help=f"{METRICS[name].label}: {METRICS[name].definition}"
                     + blanks[name])
        for name in blanks
    }  # fmt: skip
    return {
        "name": text("Method", pinned=True),
        "rank": number("Rank", width=55),
        "n_seeds": number("Seeds", help="Draws of the references, averaged."),
        "n_categories": number("Categories"),
        "n": number("Images"),
        "seen": text("Saw this data", help=SEEN_HELP),
        "remarks": "To know",
        "whose": text("Number is", help="Measured by this program, or imported: made by another and judged here."),
        **percents,
    }


def _blanks(board: pd.DataFrame, metric: str) -> str:
    """Why values of a metric are missing, for the column's tooltip."""
    rows = board[(board["metric"] == metric) & board["value"].isna()]
    reasons = [
        f"\n- {selection.tidy(str(row['name']))}: {selection.tidy(str(row['reason'] or 'not computed'), 160)}"
        for row in rows.to_dict("records")
    ]
    return "\n\nBlank:" + "".join(reasons[:8]) if reasons else ""
