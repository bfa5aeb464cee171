"""Maps and reasons that a run did not keep, computed while the visitor waits; kept for all visitors for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._ui import data, machine, pictures
from vlmad_core import paths
from vlmad_core.analysis.kept import scale_images, why_not_again
from vlmad_core.errors import VlmadError
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord

if TYPE_CHECKING:
    from vlmad_core.engine.again import Again

Answers = dict[str, "Again | Missing"]


def why_not(run: RunRecord, category: str) -> str | None:
    """Why a run is not asked again about single images; None if that may be tried."""
    return why_not_again(run, category, at_hand=pictures.at_hand(run.id))


def ask(run_ids: Sequence[str], category: str, image_id: str) -> tuple[Answers, float]:
    """Ask runs again about an image.

    Args:
        run_ids: Runs for which ``why_not`` gives no reason.
        category: The category.
        image_id: The image.

    Returns:
        By run, what it says; the seconds that took, all together.
    """
    mark, ids = data.signature(paths.stores()), tuple(run_ids)
    try:
        found = _asked(mark, ids, category, (image_id,))
    except VlmadError as error:
        return {run_id: Missing(str(error)) for run_id in ids}, 0.0
    _known().add((mark, ids, category, image_id))
    return found


def ask_normals(run_ids: Sequence[str], category: str) -> Answers:
    """Ask the same runs about the normal images that the colours of their maps are compared with."""
    normal = scale_images(data.store().images(run_ids[0], category))
    try:
        return _asked(data.signature(paths.stores()), tuple(run_ids), category, normal)[0] if normal else {}
    except VlmadError as error:
        return {run_id: Missing(str(error)) for run_id in run_ids}


def was_asked(run_ids: Sequence[str], category: str, image_id: str) -> bool:
    """Whether this visitor has the answers already, so that they need not wait for the rest of the page."""
    return (data.signature(paths.stores()), tuple(run_ids), category, image_id) in _known()


def _known() -> set[tuple[Any, ...]]:
    known: set[tuple[Any, ...]] = st.session_state.setdefault("asked_again", set())
    return known


@st.cache_data(max_entries=128, show_spinner=False)
def _asked(mark: str, run_ids: tuple[str, ...], category: str, image_ids: tuple[str, ...]) -> tuple[Answers, float]:
    from vlmad_core.inference.again import AskedRun, ask_runs

    runs = [AskedRun(data.store().run(run_id), _scores(run_id, category, image_ids)) for run_id in run_ids]
    found: tuple[Answers, float] = machine.inference().ask(machine.visitor(), ask_runs, runs, category)
    return found


def _scores(run_id: str, category: str, image_ids: tuple[str, ...]) -> dict[str, float]:
    images = data.store().images(run_id, category)
    images = images[images["image_id"].isin(image_ids) & images["score"].notna()]
    return dict(zip(images["image_id"], images["score"].astype(float), strict=True))
