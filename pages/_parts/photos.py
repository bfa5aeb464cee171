"""Step 1: the photos of a part, what was found in them, and what the part is called."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages._parts import findings, giving
from pages._ui import data, selection, visitor
from vlmad_core import paths
from vlmad_core.datasets import Dataset, list_datasets, load_dataset
from vlmad_core.datasets.check import CheckReport, check_dataset
from vlmad_core.datasets.images import DEFAULT_LIMITS
from vlmad_core.datasets.inspecting import Content
from vlmad_core.datasets.loading import load_from
from vlmad_core.datasets.parts import Part, as_part, offered_folders, without_links_out
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import parts

SOURCES = {
    "files": "Files or a zip",
    "folder": "A folder of this computer",
    "heaps": "Good and bad apart",
    "server": "A folder on the server",
}
FORMS = (
    "Folders `good` and `bad` (or `ok` and `ng`, `normal` and `defective`, or a folder for each type of defect), MVTec "
    "AD's layout, or one folder with `labels.csv` (file, label); with or without masks. For photos in no folders, "
    "give good and bad ones apart."
)


def show_photos(part: Part | None) -> Part | None:
    """Choose photos and name the part, or say what a kept part has.

    Args:
        part: A kept part, or None for a new one.

    Returns:
        The part, not kept yet where it is new; None until there are photos that can be used, and a name.
    """
    st.subheader("1. Photos", anchor=False)
    if part is not None:
        if part.folder is None and not part.photos.is_dir():
            title = selection.tidy(part.title)
            st.info(f"The photos of {title} were removed from the workspace. What was found with them stays.")
            return part
        try:
            findings.show_check(_report(part, listing(part)), content(part), titled=part)
        except VlmadError as error:
            st.warning(selection.tidy(str(error), 400), icon=":material/broken_image:")
        return part
    if not visitor.operates():
        return None
    source = st.segmented_control(
        "Photos", list(SOURCES), default="files", key="part_source", required=True, persist_state="session",
        format_func=SOURCES.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    st.caption(FORMS)
    folder = _server_folder() if source == "server" else None
    held = None if source == "server" else giving.uploaded(str(source))
    if folder is None and held is None:
        if source != "server":
            st.caption(giving.where_uploads_go())
        return None
    title = st.text_input(
        "What is it? (in words, as prompts name it)", max_chars=DEFAULT_LIMITS.max_words, key="part_title",
        placeholder="for example: metal plate",
    )  # fmt: skip
    named = parts.new_part(title if title.strip() else "part", folder)
    findings.show_check(_report(named, listing(named)), content(named))
    if held is not None:
        st.caption(giving.where_uploads_go())
    if not title.strip():
        st.info("Say in a word or two what the part is: the prompts need it.", icon=":material/edit:")
        return None
    return named


def listing(part: Part) -> Dataset:
    """A part's data set, whether its photos are written or still in memory.

    Raises:
        VlmadError: If it can't be read.
    """
    if part.kept:
        return load_dataset(part.slug)
    if part.folder is not None:
        return as_part(without_links_out(load_from(part.photos)), part)
    held = giving.held_upload()
    if held is None or held.upload is None:
        raise (
            held.error
            if held and held.error
            else VlmadError(f"The photos of {part.title} are gone.", "Give them again.")
        )
    key = (part.slug, part.noun)
    if key not in held.listings:
        held.listings[key] = held.upload.listing(part)
    return held.listings[key]


def content(part: Part) -> Content:
    """How to read a file of a part's data set: where it lies, or from memory."""
    held = giving.held_upload()
    return Path if part.kept or part.folder or held is None or held.upload is None else held.upload.content


def usable(part: Part) -> bool:
    """Whether a part's photos can be read."""
    try:
        return bool(listing(part).samples)
    except VlmadError:
        return False


def keep(part: Part) -> Part:
    """Write a part to the workspace if it is not there yet, its photos too where they were uploaded.

    Returns:
        The part as it is kept: its slug may be another one now.

    Raises:
        VlmadError: If the workspace can't be written to, or whoever looks is a viewer.
    """
    if part.kept:
        return part
    visitor.check_operator()
    held = giving.held_upload()
    taken = {one.dataset for one in data.all_comparisons()} | {entry.name for entry in list_datasets()}
    taken |= set(data.published()[0])
    kept = parts.keep(part, taken, held.upload if held and part.folder is None else None)
    giving.forget()
    selection.remember("dataset", kept.slug)
    return kept


def _server_folder() -> Path | None:
    """A folder on the server, typed or chosen."""
    places = [f"`{selection.tidy(str(place), 200)}`" for place in (paths.data_dir(), paths.workspace()) if place]
    given = st.selectbox(
        "Folder on the server", offered_folders(), index=None, accept_new_options=True, key="part_folder",
        placeholder="choose one, or type a path",
    )  # fmt: skip
    st.caption(f"Only below {' and '.join(places)}. The photos stay where they are.")
    return Path(given) if given else None


def _report(part: Part, dataset: Dataset) -> CheckReport:
    """What was found in a part's photos; each set of photos is checked once."""
    held = giving.held_upload()
    if not part.kept and part.folder is None and held is not None:
        if held.report is None:
            with st.spinner("Checking the photos …"):
                held.report = check_dataset(dataset, content(part))
        return held.report
    return findings.checked(dataset)
