"""Results for the pages, read once and shared by all visitors."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from vlmad_core.figures.curves import NamedCurve
from vlmad_core.figures.scale import ColourScale, rarity_scale, raw_scale, shared_range
from vlmad_core.results.aggregate import leaderboard
from vlmad_core.results.comparison import Comparison, Line, cells, comparisons
from vlmad_core.results.store import Missing, Store, open_stores, store_signature

CHECKOUT = Path(__file__).parents[2]
SCALE_SIZE = (64, 64)
"""Size at which the maps of normal images are read for a colour scale."""


def store_root() -> Path:
    """Where the results are: ``VLMAD_STORE``, or ``results`` of the checkout."""
    given = os.environ.get("VLMAD_STORE")
    return Path(given) if given else CHECKOUT / "results"


def store_roots() -> tuple[Path, ...]:
    """The root and the demonstration store inside it, the demonstration first, so that own runs win."""
    root = store_root()
    return root / "bundled", root


@st.cache_data(ttl=2, show_spinner=False)
def signature(roots: tuple[Path, ...]) -> str:
    """Changes when a run or unit comes or goes; looked up at most every two seconds."""
    return "-".join(store_signature(root) if root.is_dir() else "none" for root in roots)


@st.cache_resource(max_entries=2, show_spinner="Reading the results …")
def _store(roots: tuple[Path, ...], mark: str) -> Store:
    return open_stores(roots)


def store() -> Store:
    """The results as they are now."""
    roots = store_roots()
    return _store(roots, signature(roots))


@st.cache_resource(max_entries=4, show_spinner=False)
def _comparisons(roots: tuple[Path, ...], mark: str) -> tuple[Comparison, ...]:
    return comparisons(_store(roots, mark))


def all_comparisons() -> tuple[Comparison, ...]:
    """What may be ranked together, per data set."""
    roots = store_roots()
    return _comparisons(roots, signature(roots))


@st.cache_data(max_entries=16, show_spinner="Averaging …")
def _board(roots: tuple[Path, ...], mark: str, dataset: str, categories: tuple[str, ...] | None) -> pd.DataFrame:
    return leaderboard(_store(roots, mark), dataset=dataset, categories=categories)


def board(comparison: Comparison, categories: tuple[str, ...] | None = None) -> pd.DataFrame:
    """The leaderboard of a comparison, over all its categories or those given."""
    roots = store_roots()
    frame = _board(roots, signature(roots), comparison.dataset, categories)
    return frame[frame["conditions"] == comparison.conditions]


@st.cache_data(max_entries=64, show_spinner=False)
def _rarity(roots: tuple[Path, ...], mark: str, run_id: str, category: str) -> ColourScale | None:
    results = _store(roots, mark)
    images = results.images(run_id, category)
    normal = images[(images["label"] == 0) & (images["split"] == "test")]["image_id"]
    maps = [results.anomaly_map(run_id, category, image_id, SCALE_SIZE) for image_id in normal]
    kept = [one for one in maps if not isinstance(one, Missing)]
    return rarity_scale(kept) if kept else None


def rarity(run_id: str, category: str) -> ColourScale | None:
    """How rare a value is on the normal test images of a run's category; None without maps."""
    roots = store_roots()
    return _rarity(roots, signature(roots), run_id, category)


@st.cache_data(max_entries=64, show_spinner=False)
def _raw(roots: tuple[Path, ...], mark: str, run_ids: tuple[str, ...], category: str) -> ColourScale | None:
    results = _store(roots, mark)
    maps: list[np.ndarray] = []
    for run_id in run_ids:
        grids = results.grids(run_id, category)
        if not isinstance(grids, Missing):
            some = grids.image_ids[:: max(1, len(grids.image_ids) // 40)]
            found = [results.anomaly_map(run_id, category, image_id, SCALE_SIZE) for image_id in some]
            maps += [one for one in found if not isinstance(one, Missing)]
    return raw_scale(*shared_range(maps)) if maps else None


def raw(run_ids: tuple[str, ...], category: str) -> ColourScale | None:
    """One scale in raw units for these runs together; None without maps."""
    roots = store_roots()
    return _raw(roots, signature(roots), run_ids, category)


def named_curves(lines: Sequence[Line], category: str, curve: str, metric: str) -> list[NamedCurve]:
    """The curves of all lines that kept them, named with their value.

    Args:
        lines: The competitors.
        category: The category.
        curve: Name of the curve, such as ``image_roc``.
        metric: The metric whose value is written beside the name.
    """
    values = cells(store(), lines, metric)
    found = []
    for line in lines:
        run = line.run_with(category)
        if run is None:
            continue
        points = store().curves(run.id, category)
        points = points[points["curve"] == curve]
        own = values.loc[(values["line"] == line.id) & (values["category"] == category), "value"].dropna()
        if len(points):
            name = f"{line.title} ({100 * own.iloc[0]:.1f})" if len(own) else line.title
            found.append(NamedCurve(line.method, name, points))
    return found


def runs_of(lines: Sequence[Line], category: str) -> dict[str, str]:
    """For each line that has finished the category, the id of its run."""
    found = {line.id: line.run_with(category) for line in lines}
    return {line: run.id for line, run in found.items() if run is not None}


@st.cache_resource
def warm_up() -> None:
    """Load in the background what the first anomaly map would otherwise have to wait for."""
    threading.Thread(target=importlib.import_module, args=("vlmad_core.methods.predictions",), daemon=True).start()


def metric_names(comparison: Comparison) -> frozenset[str]:
    """Metrics that occur in a comparison."""
    return frozenset(board(comparison)["metric"])
