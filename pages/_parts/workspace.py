"""The parts of the workspace: choosing one, and what can be done with each."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import streamlit as st

from pages._ui import data, frame, selection, visitor
from vlmad_core import paths
from vlmad_core.datasets.images import DEFAULT_LIMITS
from vlmad_core.datasets.parts import Part, list_parts
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import parts

NEW, SLOT, CHOOSER = "new", "part", "choose_part"


def choose_part() -> Part | None:
    """The part the page is about; None for a new one."""
    kept = {part.slug: part for part in list_parts()}
    if not kept:
        return None
    others = frame.datasets(data.all_comparisons())
    st.session_state[CHOOSER] = selection.current("dataset", [NEW, *kept], NEW, slot=SLOT, known=others)
    st.selectbox(
        "Part", [NEW, *kept], key=CHOOSER, width=320, on_change=_open_chosen,
        format_func=lambda slug: "A new part" if slug == NEW else selection.tidy(kept[slug].title),
    )  # fmt: skip
    return kept.get(st.session_state[CHOOSER])


def _open_chosen() -> None:
    """Take the part that was chosen into the address; a new one is no data set yet."""
    picked = st.session_state[CHOOSER]
    selection.forget("dataset", f"dataset{SLOT}")
    if picked != NEW:
        selection.remember("dataset", picked)


def show_workspace() -> None:
    """All parts, with what can be done with each."""
    kept = list_parts()
    if not kept:
        return
    st.subheader("Workspace", anchor=False)
    if problem := st.session_state.pop("workspace_error", ""):
        st.error(selection.tidy(problem, 400), icon=":material/error:")
    st.caption(
        f"Parts, their photos, jobs and decisions lie in `{selection.tidy(str(paths.workspace().absolute()), 200)}`."
    )
    reason = visitor.why_not_jobs()
    if reason:
        st.caption(f"Nothing can be changed from here. {reason}")
    for part in kept:
        _show_part(part, free=not reason)


def _show_part(part: Part, *, free: bool) -> None:
    own = part.folder is None
    where = f"{parts.size(part) / 2**20:.1f} MB" if own else f"photos in `{selection.tidy(part.folder or '', 200)}`"
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(f"**{selection.tidy(part.title)}** :gray[`{part.slug}` · {part.created[:10]} · {where}]")
        st.button(
            "Open", key=f"open-{part.slug}", icon=":material/arrow_forward:", on_click=selection.remember,
            args=("dataset", part.slug), type="tertiary",
        )  # fmt: skip
        if not free:
            return
        with st.popover("Rename", icon=":material/edit:", type="tertiary", key=f"naming-{part.slug}"):
            title = st.text_input("New name", part.title, max_chars=DEFAULT_LIMITS.max_words, key=f"title-{part.slug}")
            st.button("Rename", key=f"rename-{part.slug}", on_click=_try, args=(partial(parts.rename, part, title),))
        st.download_button(
            "Export", partial(_packed, part), f"{part.slug}.zip", "application/zip", key=f"export-{part.slug}",
            icon=":material/download:", type="tertiary", on_click="ignore",
        )  # fmt: skip
        if own and part.photos.is_dir():
            st.button(
                "Remove its photos", key=f"photos-{part.slug}", icon=":material/hide_image:", type="tertiary",
                on_click=_try, args=(partial(parts.remove_photos, part),),
                help="From the workspace; results and decisions stay.",
            )  # fmt: skip
        with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"deleting-{part.slug}"):
            st.markdown("Its photos, jobs, decisions and results go." if own else "Its photos stay; all else goes.")
            st.button(
                "Delete it", key=f"delete-{part.slug}", type="primary", on_click=_try,
                args=(partial(parts.remove, part, [paths.store_root()]),),
            )  # fmt: skip


def _packed(part: Part) -> bytes:
    """A part as a zip."""
    out = BytesIO()
    parts.export(part, [paths.store_root()], out)
    return out.getvalue()


def _try(change: partial[object]) -> None:
    """Change something in the workspace; what goes wrong is said above the list of parts."""
    try:
        visitor.check_jobs()
        change()
    except VlmadError as error:
        st.session_state["workspace_error"] = str(error)
