"""Step 2: which methods, with how many references and what backbone; how long it takes; the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages._parts import looking, photos
from pages._ui import data, machine, selection, visitor
from vlmad_core import paths
from vlmad_core.backbones.known import KNOWN_BACKBONES, KnownBackbone
from vlmad_core.cards import card_names, find_card, first_for_parts
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.parts import Part
from vlmad_core.datasets.views import View
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import plans, queue
from vlmad_core.workspace.jobs import list_jobs

if TYPE_CHECKING:
    from vlmad_core.engine.estimate import Estimate


def show_plan(part: Part) -> None:
    """Choose what is computed, see what it takes, and start it.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
    st.subheader("2. Plan", anchor=False)
    dataset = photos.listing(part)
    left, right = st.columns([3, 1], gap="large")
    with left:
        backbone = _choose_backbone()
    with right:
        references = _choose_references(dataset)
    methods = st.multiselect(
        "Methods", card_names(), default=first_for_parts(), key="plan_methods", persist_state="session",
        format_func=method_title,
    )  # fmt: skip
    view = looking.show_looking(part, dataset, *_input(backbone))
    if not methods:
        st.info("Choose at least one method.", icon=":material/checklist:")
        return
    if any(job.open for job in list_jobs(paths.workspace(), part.slug)):
        st.caption("What it takes is worked out when no job of this part is open: timing a pass would disturb it.")
    else:
        _show_estimate(part, dataset, tuple(methods), references, backbone, view)
    _start(part, methods, references, backbone, view)


def _show_estimate(
    part: Part, dataset: Dataset, methods: tuple[str, ...], references: int, backbone: str, view: View
) -> None:
    """What the plan takes, and which of it makes no sense."""
    try:
        # What a job has just finished shows in its record before the stores are looked at again.
        ended = (job.state.finished or "" for job in list_jobs(paths.workspace(), part.slug))
        mark = listing_hash(dataset.samples), data.signature(paths.stores()), *ended
        found = _estimate(part.slug, mark, methods, references, backbone, view, dataset)
    except VlmadError as error:
        st.error(selection.tidy(str(error), 400), icon=":material/error:")
        return
    for what, reason in plans.left_out(found):
        st.caption(f":material/block: {selection.tidy(what)}: {selection.tidy(reason, 200)}")
    if not found.images:
        st.markdown("All of it is done: the results are below and in every view.")
        return
    st.markdown(f"{found.images} photos to judge: {found.in_short[1]}.")
    if lacking := plans.shortage(found, paths.store_root()):
        st.warning(lacking, icon=":material/memory:")


def _start(part: Part, methods: list[str], references: int, backbone: str, view: View) -> None:
    """The button, or why there is none, and the same on the command line."""
    from vlmad_core.engine.options import as_command

    with st.container(horizontal=True, vertical_alignment="center"):
        try:
            visitor.check_jobs()
            if st.button("Start", type="primary", icon=":material/play_arrow:", key="plan_start"):
                kept = photos.keep(part)
                options = plans.part_options(kept.slug, methods, references, backbone, view)
                queue.submit(paths.workspace(), options, kept.title, kept.slug)
                queue.ensure_worker(paths.workspace())
                st.rerun()
        except VlmadError as error:
            st.warning(selection.tidy(str(error), 400), icon=":material/block:")
        if part.kept:
            with st.popover("On the command line", icon=":material/terminal:"):
                command = as_command(plans.part_options(part.slug, methods, references, backbone, view))
                st.code(command, language="bash", wrap_lines=True)


def method_title(name: str) -> str:
    """A method as it is shown, also where its card is not here, as with a plugin of another day."""
    card = find_card(name)
    return selection.tidy(card.title if card else name)


@st.cache_data(max_entries=32, ttl=600, show_spinner="Timing a pass …")
def _estimate(
    slug: str,
    mark: tuple[str, ...],
    methods: tuple[str, ...],
    references: int,
    backbone: str,
    view: View,
    _dataset: Dataset,
) -> Estimate:
    """What the plan takes; timed once for the same choices."""
    options = plans.part_options(slug, methods, references, backbone, view)
    found: Estimate = machine.inference().ask(machine.visitor(), plans.estimate_beside, _dataset, options)
    return found


def _choose_references(dataset: Dataset) -> int:
    """How many good photos are drawn as references."""
    counts = plans.reference_choices(dataset)
    if not counts:
        st.caption("Too few good photos to draw references from: methods judge by words alone.")
        return 0
    chosen = st.segmented_control(
        "References", counts, default=counts[min(1, len(counts) - 1)], required=True, key="plan_references",
        help="Good photos that methods compare with. They are drawn from the good ones and never tested on.",
    )  # fmt: skip
    return int(chosen or counts[0])


def _choose_backbone() -> str:
    """One of the backbones at hand; the others with what fetching them takes."""
    choices = machine.backbones(paths.named_backbone())
    titles = {one.id: _title(one.id, one.title) for one in choices if one.available}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Backbone", list(titles), format_func=titles.__getitem__, key="plan_backbone", persist_state="session"
        )
        with st.popover("Get another", icon=":material/download:"):
            _offer_downloads({one.id for one in choices if not one.available})
    return chosen or next(iter(titles))


@st.cache_data(max_entries=8, show_spinner="Reading the backbone …")
def _input(backbone: str) -> tuple[int, int]:
    """Side of its input and of its patches."""
    return plans.backbone_input(backbone)


def _title(hub_id: str, title: str) -> str:
    known = KNOWN_BACKBONES.get(hub_id)
    return known.title if known else selection.tidy(title)


def _offer_downloads(absent: set[str]) -> None:
    """Backbones that papers use and that are not here, and any other by its hub id."""
    if not visitor.operates():
        return
    for one in KNOWN_BACKBONES.values():
        if one.hub_id in absent:
            st.markdown(f"**[{one.title}]({one.source})**, {one.megabytes} MB, licence: {one.licence}")
            _download_button(one.hub_id)
    hub_id = st.text_input("Another CLIP model, by its hub id", placeholder="owner/name", key="plan_hub_id").strip()
    if hub_id:
        try:
            model = _looked_up(hub_id)
        except VlmadError as error:
            st.warning(selection.tidy(str(error), 400), icon=":material/cloud_off:")
            return
        st.markdown(f"**{selection.tidy(hub_id)}**, {model.megabytes} MB, licence: {selection.tidy(model.licence)}")
        _download_button(hub_id)


@st.cache_data(max_entries=8, ttl=300, show_spinner="Asking the hub …")
def _looked_up(hub_id: str) -> KnownBackbone:
    from vlmad_core.backbones.hub import look_up

    model = look_up(hub_id)
    return KnownBackbone(hub_id, hub_id, round(model.bytes / 1e6), model.licence or "its page names none")


def _download_button(hub_id: str) -> None:
    """Fetch a model as a job, which goes on when this page is closed."""
    try:
        visitor.check_jobs()
        if st.button("Download", icon=":material/download:", key=f"download-{hub_id}"):
            queue.submit_download(paths.workspace(), hub_id)
            queue.ensure_worker(paths.workspace())
            st.rerun()
    except VlmadError as error:
        st.caption(selection.tidy(str(error), 400))
