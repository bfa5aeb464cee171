"""Results for the pages, read once and shared by all visitors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from vlmad_core import paths
from vlmad_core.analysis.best import Differences
from vlmad_core.analysis.best import differences_between as held_against_one_another
from vlmad_core.analysis.comparable import Comparability, comparisons, imported_beside
from vlmad_core.analysis.entries import Comparison, Entry, EntryKey
from vlmad_core.analysis.entries import cells as measured_cells
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.published import PublishedSet, published_sets
from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.slices import category_kinds, points_of_curve
from vlmad_core.analysis.sources import load_sources
from vlmad_core.analysis.speed import cost_table
from vlmad_core.analysis.transfer import on_other_data
from vlmad_core.analysis.verdicts import normal_maps, some_maps
from vlmad_core.datasets.parts import list_parts
from vlmad_core.errors import StoreError
from vlmad_core.figures.curves import NamedCurve
from vlmad_core.figures.scale import ColourScale, rarity_scale, raw_scale, shared_range
from vlmad_core.reading import is_folder
from vlmad_core.store.benches import BenchRecord, read_benches
from vlmad_core.store.commands import CommandRecord, read_commands
from vlmad_core.store.reader import Store, open_stores, store_signature


@st.cache_data(ttl=2, show_spinner=False)
def signature(roots: tuple[Path, ...]) -> str:
    """Changes when a run or unit comes or goes; looked up at most every two seconds."""
    return "-".join(store_signature(root) if is_folder(root) else "none" for root in roots)


@st.cache_resource(max_entries=2, show_spinner="Reading the results …")
def _store(roots: tuple[Path, ...], mark: str) -> Store:
    return open_stores(roots)


def store() -> Store:
    """The results as they are now."""
    roots = paths.stores()
    return _store(roots, signature(roots))


@st.cache_resource(max_entries=4, show_spinner=False)
def _comparisons(roots: tuple[Path, ...], mark: str) -> tuple[Comparison, ...]:
    return comparisons(_store(roots, mark))


def all_comparisons() -> tuple[Comparison, ...]:
    """What may be ranked together, per data set."""
    roots = paths.stores()
    return _comparisons(roots, signature(roots))


# What is shared as a resource is read and never changed; a copy for each use took longer than what it was used for.
@st.cache_resource(max_entries=24, show_spinner="Averaging …")
def _board(
    roots: tuple[Path, ...], mark: str, dataset: str, categories: tuple[str, ...] | None, seed: int | None
) -> dict[str, pd.DataFrame]:
    board = leaderboard(_store(roots, mark), dataset=dataset, categories=categories, seed=seed)
    return {str(conditions): rows for conditions, rows in board.groupby("conditions", sort=False)} | {"": board[:0]}


def board(comparison: Comparison, categories: tuple[str, ...] | None = None, seed: int | None = None) -> pd.DataFrame:
    """The leaderboard of a comparison.

    Args:
        comparison: What is compared.
        categories: The categories the means are over; all if None.
        seed: One draw of references; the mean over all if None.
    """
    roots = paths.stores()
    boards = _board(roots, signature(roots), comparison.dataset, categories, seed)
    return boards.get(comparison.conditions, boards[""])


@st.cache_resource(max_entries=64, show_spinner="Comparing …")
def _differences(
    roots: tuple[Path, ...],
    mark: str,
    place: tuple[str, str],
    keys: tuple[EntryKey, ...],
    metric: str,
    categories: tuple[str, ...],
) -> Differences:
    by_key = {entry.key: entry for entry in _at(roots, mark, place).entries()}
    return held_against_one_another(_store(roots, mark), [by_key[key] for key in keys], metric, categories)


def differences(
    comparison: Comparison, keys: Sequence[EntryKey], metric: str, categories: Sequence[str]
) -> Differences:
    """These entries held against one another in a metric, over these categories."""
    roots = paths.stores()
    place = comparison.dataset, comparison.conditions
    return _differences(roots, signature(roots), place, tuple(keys), metric, tuple(categories))


@st.cache_resource(max_entries=32, show_spinner=False)
def _kinds(roots: tuple[Path, ...], mark: str, place: tuple[str, str]) -> dict[str, str]:
    return category_kinds(_at(roots, mark, place).runs)


def kinds(comparison: Comparison) -> dict[str, str]:
    """``object`` or ``texture`` for each category whose kind is known."""
    roots = paths.stores()
    return _kinds(roots, signature(roots), (comparison.dataset, comparison.conditions))


def entries(comparison: Comparison) -> dict[EntryKey, Entry]:
    """The entries of a comparison by key."""
    return {entry.key: entry for entry in comparison.entries()}


def imported(comparison: Comparison) -> dict[EntryKey, Comparability]:
    """The imported entries of a comparison, and whether each may be ranked with the measured ones."""
    return dict(imported_beside(comparison))


def alike(comparison: Comparison) -> tuple[Comparison, ...]:
    """Comparisons on other data sets that are equal in everything else, this one first."""
    return on_other_data(comparison, all_comparisons())


@st.cache_resource(show_spinner=False)
def reported() -> pd.DataFrame:
    """What papers and other people's runs report, read once."""
    return load_reported()


@st.cache_resource(show_spinner=False)
def published() -> tuple[dict[str, PublishedSet], str]:
    """The published benchmarks by id; where they can't be read, none, and why."""
    try:
        return published_sets(reported(), load_sources()), ""
    except StoreError as error:
        return {}, str(error)


@st.cache_resource(max_entries=32, show_spinner=False)
def _costs(roots: tuple[Path, ...], mark: str, place: tuple[str, str]) -> pd.DataFrame:
    return cost_table(_at(roots, mark, place).entries())


def costs(comparison: Comparison) -> pd.DataFrame:
    """What each line of a comparison costs."""
    roots = paths.stores()
    return _costs(roots, signature(roots), (comparison.dataset, comparison.conditions))


@st.cache_data(ttl=10, max_entries=8, show_spinner=False)
def _commands(roots: tuple[Path, ...]) -> tuple[CommandRecord, ...]:
    return read_commands(roots)


def last_command(dataset: str) -> CommandRecord | None:
    """What the latest command that filled the stores with a data set spent its time on; None if none is known."""
    return next((one for one in _commands(paths.stores()) if dataset in one.datasets), None)


@st.cache_data(ttl=2, show_spinner=False)
def _benches(roots: tuple[Path, ...]) -> tuple[tuple[BenchRecord, ...], tuple[str, ...]]:
    return read_benches(roots)


def benches() -> tuple[tuple[BenchRecord, ...], tuple[str, ...]]:
    """What benchmarks measured that lie in the stores, the latest first, and what could not be read, in words."""
    return _benches(paths.stores())


def _at(roots: tuple[Path, ...], mark: str, place: tuple[str, str]) -> Comparison:
    """The comparison of a data set and conditions."""
    return next(one for one in _comparisons(roots, mark) if (one.dataset, one.conditions) == place)


@st.cache_data(ttl=2, max_entries=4, show_spinner=False)
def _own_parts(workspace: Path) -> dict[str, str]:
    return {part.slug: part.title for part in list_parts()}


def own_parts() -> dict[str, str]:
    """The user's own parts: their names in words by the names of their data sets."""
    return _own_parts(paths.workspace())


@st.cache_data(max_entries=64, show_spinner=False)
def _rarity(roots: tuple[Path, ...], mark: str, run_id: str, category: str) -> ColourScale | None:
    kept = normal_maps(_store(roots, mark), run_id, category)
    return rarity_scale(kept) if kept else None


def rarity(run_id: str, category: str) -> ColourScale | None:
    """How rare a value is on the normal test images of a run's category; None without maps."""
    roots = paths.stores()
    return _rarity(roots, signature(roots), run_id, category)


@st.cache_data(max_entries=64, show_spinner=False)
def _raw(roots: tuple[Path, ...], mark: str, run_ids: tuple[str, ...], category: str) -> ColourScale | None:
    maps = some_maps(_store(roots, mark), run_ids, category)
    return raw_scale(*shared_range(maps)) if maps else None


def raw(run_ids: tuple[str, ...], category: str) -> ColourScale | None:
    """One scale in raw units for these runs together; None without maps."""
    roots = paths.stores()
    return _raw(roots, signature(roots), run_ids, category)


@st.cache_resource(max_entries=64, show_spinner=False)
def _cells(
    roots: tuple[Path, ...], mark: str, keys: tuple[str, ...], metric: str, _lines: Sequence[Entry]
) -> pd.DataFrame:
    return measured_cells(_store(roots, mark), _lines, metric)


def cells(lines: Sequence[Entry], metric: str) -> pd.DataFrame:
    """A metric for each category and line, as ``vlmad_core.analysis.entries.cells`` gives it."""
    roots = paths.stores()
    keys = tuple(f"{line.id} {run.id}" for line in lines for run in line.runs)
    return _cells(roots, signature(roots), keys, metric, lines)


def named_curves(lines: Sequence[Entry], category: str, curve: str, metric: str) -> list[NamedCurve]:
    """The curves of all lines that have them, named with their value.

    Args:
        lines: The competitors.
        category: The category.
        curve: Name of the curve, such as ``image_roc``.
        metric: The metric whose value is written beside the name.
    """
    values = cells(lines, metric)
    found = []
    for line in lines:
        run = line.run_with(category)
        if run is None:
            continue
        points = points_of_curve(store(), run.id, category, curve)
        own = values.loc[(values["line"] == line.id) & (values["category"] == category), "value"].dropna()
        if len(points):
            name = f"{line.title} ({100 * own.iloc[0]:.1f})" if len(own) else line.title
            found.append(NamedCurve(line.method, name, points))
    return found


def runs_of(lines: Sequence[Entry], category: str) -> dict[str, str]:
    """For each line that has finished the category, the id of its run."""
    found = {line.id: line.run_with(category) for line in lines}
    return {line: run.id for line, run in found.items() if run is not None}


@st.cache_resource(max_entries=32, show_spinner=False)
def _metric_names(roots: tuple[Path, ...], mark: str, place: tuple[str, str]) -> frozenset[str]:
    return frozenset(board(_at(roots, mark, place))["metric"])


def metric_names(comparison: Comparison) -> frozenset[str]:
    """Metrics that occur in a comparison."""
    roots = paths.stores()
    return _metric_names(roots, signature(roots), (comparison.dataset, comparison.conditions))
