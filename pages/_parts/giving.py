"""What a visitor uploads: fields for it, and what is held in memory until a job needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from pages._parts.findings import MOST_TOLD
from pages._ui import selection
from vlmad_core import paths
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.check import CheckReport
from vlmad_core.errors import VlmadError
from vlmad_core.workspace.uploads import UPLOAD_MEGABYTES, Upload, gather_upload, sorted_upload

TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]
FILE_MEGABYTES = 500
"""The largest file. Of a larger one the browser's field would say 1 GB, which the server does not take."""


@dataclass
class Held:
    """What one visitor has uploaded, in memory.

    Attributes:
        mark: Tells uploads apart.
        upload: The photos; None with the error where they can't be used.
        error: Why they can't be used.
        listings: Their data set under each name that was typed.
        report: What was found in them, once they were checked.
    """

    mark: tuple[str, ...]
    upload: Upload | None = None
    error: VlmadError | None = None
    listings: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    report: CheckReport | None = None


def uploaded(source: str) -> Held | None:
    """What was uploaded, listed once; None while there is nothing.

    Raises:
        VlmadError: If it can't be used.
    """
    if source == "heaps":
        left, right = st.columns(2)
        with left:
            good = _upload_field("Photos of good parts", "part_good", zips=True)
        with right:
            bad = _upload_field("Photos of defective parts", "part_bad", zips=True)
        files = [*good, *bad]
    else:
        whole = source == "folder"
        files = _upload_field(
            "Folder of photos" if whole else "Photos or zip archives", f"part_{source}", zips=not whole, folder=whole
        )
        good, bad = files, []
    if not files:
        return _kept_in_memory()
    mark = (source, *(one.file_id for one in files))
    held = held_upload()
    if held is None or held.mark != mark:
        held = Held(mark)
        try:
            first, second = ([(one.name, one.getvalue()) for one in heap] for heap in (good, bad))
            held.upload = sorted_upload(first, second) if source == "heaps" else gather_upload(first)
        except VlmadError as error:
            held.error = error
        st.session_state["part_held"] = held
    if held.error is not None:
        raise held.error
    _tell_problems(held.upload)
    return held


def _upload_field(label: str, key: str, *, zips: bool, folder: bool = False) -> list[Any]:
    """A field for files, and what is in it."""
    kinds = [*TYPES, "csv", "json", *(["zip"] if zips else [])]
    given = st.file_uploader(
        label, type=kinds, accept_multiple_files="directory" if folder else True, key=key, on_change=forget,
        max_upload_size=FILE_MEGABYTES,
    )  # fmt: skip
    return list(given or ())


def _kept_in_memory() -> Held | None:
    """Photos that were uploaded before the visitor looked at another page."""
    held = held_upload()
    if held is None or held.upload is None:
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(held.upload.files)} files are in memory.")
        st.button("Forget them", icon=":material/delete:", key="part_forget", on_click=forget, type="tertiary")
    return held


def _tell_problems(upload: Upload | None) -> None:
    """What of an upload can't be used."""
    problems = upload.problems if upload else ()
    for problem in problems[:MOST_TOLD]:
        st.warning(selection.tidy(problem, 300), icon=":material/block:")
    if len(problems) > MOST_TOLD:
        st.caption(f"And {len(problems) - MOST_TOLD:,} more that could not be used.")
    if upload and upload.left_out:
        st.caption(f"Left out, since they are no photos by their endings: {upload.left_out:,}.")


def where_uploads_go() -> str:
    """What becomes of an upload, said before anything is written."""
    where = selection.tidy(str(paths.workspace().absolute()), 200)
    return (
        f"Up to {UPLOAD_MEGABYTES} MB in all. Photos stay in the memory of this dashboard until you start a job; then "
        f"they are written to `{where}` on its machine, where one button removes them."
    )


def held_upload() -> Held | None:
    """What this visitor has uploaded; None if nothing."""
    held: Held | None = st.session_state.get("part_held")
    return held


def forget() -> None:
    """Let go of it."""
    st.session_state.pop("part_held", None)
