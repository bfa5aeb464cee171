"""Demos saved from the live demo: listed on the failures page, opened one at a time, removed."""

from __future__ import annotations

import streamlit as st

from pages._ui import frame, pictures, selection, visitor
from pages._ui.pictures import Tile
from vlmad_core import paths
from vlmad_core.errors import VlmadError
from vlmad_core.store.annotations import Demo, read_demos, remove_demo
from vlmad_core.store.reader import Missing

PER_PAGE = 12


def show() -> None:
    """The list of saved demos, the one that is opened over it, and what could not be read; nothing without any."""
    found = read_demos(paths.store_root())
    by_id: dict[str, Demo] = {demo.id: demo for demo in found.items}
    opened = selection.current("demo", ["", *by_id], "")
    if not found.items and not found.problems:
        return
    st.subheader("Saved from the live demo", anchor=False)
    _list(list(by_id.values()))
    if found.problems:
        with st.expander(f"{len(found.problems)} saved demos could not be read", icon=":material/report:"):
            for problem in found.problems:
                st.text(str(problem.message))
    if opened:
        st.dialog(selection.tidy(by_id[opened].title), width="large", on_dismiss=_close)(_open)(by_id[opened])


def _list(demos: list[Demo]) -> None:
    """Small pictures, newest first; a button opens each."""
    from vlmad_core.live.saved import IMAGE_FILE, saved_picture

    last = -(-len(demos) // PER_PAGE)
    st.session_state["demo_page"] = page = min(st.session_state.get("demo_page", 1), max(last, 1))
    grid = st.grid("auto", min_column_width=140, gap="small")
    for demo in demos[(page - 1) * PER_PAGE : page * PER_PAGE]:
        title = selection.tidy(demo.title)
        with grid.cell():
            picture = saved_picture(demo, IMAGE_FILE)
            if isinstance(picture, Missing):
                st.caption(picture.reason)
            else:
                st.image(picture, width="stretch", alt=f"Saved demo: {title}")
            st.button(
                title, key=f"demo-{demo.id}", width="stretch", on_click=selection.remember, args=("demo", demo.id),
                help=f"Saved {_when(demo)}",
            )  # fmt: skip
    if last > 1:
        st.pagination(last, key="demo_page")


def _open(demo: Demo) -> None:
    """One saved demo: the image, each method's map and verdict, the note; and a way to remove it."""
    from vlmad_core.live.saved import IMAGE_FILE, overlay_file, read_saved, saved_picture

    saved = read_saved(demo)
    facts = (saved.category, saved.image, saved.backbone, f"saved {_when(demo)}")
    st.caption(" · ".join(selection.tidy(fact, 120) for fact in facts if fact))
    tiles = [Tile("**Image**", saved_picture(demo, IMAGE_FILE), "The image that was judged")]
    for one in saved.methods:
        title = selection.tidy(one.title)
        badge = (
            f" :{frame.VERDICT_BADGES[one.verdict]}-badge[{one.verdict}]" if one.verdict in frame.VERDICT_BADGES else ""
        )
        score = "no score" if one.score is None else f"score {one.score:.4g}"
        against = "" if one.threshold is None else f", threshold {one.threshold:.4g}"
        words = "" if one.method_id.endswith(":canonical") else f" {selection.tidy(one.method_id, 80)}"
        picture = saved_picture(demo, overlay_file(one.method_id))
        alt = f"Anomaly map of {title} over the image"
        tiles.append(Tile(f"**{title}**{badge}", picture, alt, f"{score}{against}{words}"))
    pictures.show_tiles(tiles, 150)
    if saved.scale in pictures.SCALES:
        st.caption(f"Colours: {pictures.SCALES[saved.scale].lower()}.")
    if saved.known:
        st.caption(f":material/fact_check: {selection.tidy(saved.known, 200)}")
    if saved.note:
        st.text(saved.note)
    with st.popover("Remove", icon=":material/delete:", type="tertiary"):
        if not visitor.operates():
            return
        st.caption("It is removed for all visitors and can't be brought back.")
        if st.button("Remove it", key="demo_remove", type="primary"):
            _remove(demo)


def _remove(demo: Demo) -> None:
    try:
        visitor.check_operator()
        remove_demo(paths.store_root(), demo.id)
    except VlmadError as error:
        st.error(selection.tidy(str(error), 300), icon=":material/error:")
    else:
        _close()
        st.rerun()


def _close() -> None:
    selection.forget("demo")


def _when(demo: Demo) -> str:
    return f"{selection.tidy(demo.saved_at.replace('T', ' ')[:16])} UTC"
