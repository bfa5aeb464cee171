"""What methods say of images, read and judged once for all visitors; and notes on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._ui import data
from vlmad_core import paths
from vlmad_core.analysis.agreement import judge_others
from vlmad_core.analysis.comparison import Comparison, Line
from vlmad_core.analysis.failures import judge_line
from vlmad_core.store.annotations import Annotation, Found, annotations_signature, read_annotations


def judged(line: Line, categories: Sequence[str], name: str | None, value: float | None) -> pd.DataFrame:
    """The images of some categories as a line judges them; not to be changed by the caller.

    Args:
        line: The competitor.
        categories: The categories.
        name: Name of the threshold.
        value: A threshold set by hand instead.
    """
    mark = data.signature(paths.stores())
    runs = tuple(run.id for run in line.runs)
    return _judged(line, tuple(categories), name, value, (mark, *runs))


@st.cache_resource(max_entries=64, show_spinner=False)
def _judged(
    _line: Line, categories: tuple[str, ...], name: str | None, value: float | None, key: tuple[str, ...]
) -> pd.DataFrame:
    return judge_line(data.store(), _line, categories, name, value)


def others(
    one: Comparison, shots: int, line: Line, categories: Sequence[str], name: str | None
) -> dict[str, pd.DataFrame]:
    """The same for all other lines, each at its own thresholds of that name; not to be changed by the caller."""
    mark = data.signature(paths.stores())
    return _others(one, shots, line, tuple(categories), name, (mark, one.dataset, one.conditions, line.id))


@st.cache_resource(max_entries=32, show_spinner=False)
def _others(
    _one: Comparison, shots: int, _line: Line, categories: tuple[str, ...], name: str | None, key: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    return judge_others(data.store(), _one.lines(shots), _line, categories, name)


def notes(dataset: str, line: Line) -> dict[str, Annotation]:
    """Notes on the images of a data set as a line judged them, by image."""
    return {one.image_id: one for one in all_notes(dataset) if (one.method, one.shots) == (line.id, line.shots)}


def all_notes(dataset: str) -> tuple[Annotation, ...]:
    """All notes on a data set."""
    return found_notes(dataset).items


def found_notes(dataset: str) -> Found:
    """All notes on a data set, and what could not be read of them."""
    root = paths.store_root()
    return _notes(root, annotations_signature(root), dataset)


@st.cache_data(max_entries=8, show_spinner=False)
def _notes(root: Path, mark: str, dataset: str) -> Found:
    return read_annotations(root, dataset)
