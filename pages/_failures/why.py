"""Why a method gave the opened image its score: prompts, windows, the nearest patch of a reference."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._failures import again
from pages._failures.maps import Later, nothing
from pages._ui import data, pictures, selection
from pages._ui.pictures import Picture, Tile
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.failures import Explanation, corners, explanation, prompt_lead
from vlmad_core.figures.overlay import cut_out, enlarge, framed
from vlmad_core.store.reader import Missing

AROUND = 2.0
"""How much of a patch's sides is shown around it."""


def show(line: Entry, category: str, image_id: str) -> Later:
    """What is known about the image's score, behind a headline that opens it.

    Args:
        line: The method.
        category: The category.
        image_id: The image.

    Returns:
        What computes reasons that were not kept and shows them.
    """
    title = selection.tidy(line.title)
    part = st.expander(f"Why {title} gives this score", icon=":material/psychology:", key="why", on_change="rerun")
    run = line.run_with(category)
    if not part.open or run is None:
        return nothing
    kept = data.store().explain(run.id, category)
    # A run that kept its maps kept its reasons too: without any, the method gives none.
    whole = len(kept) > 0 or data.store().keeps_maps(run.id, category)
    reason = None if whole else again.why_not(run, category)
    if whole or reason:
        with part:
            _explain(title, run.id, category, explanation(kept, image_id), image_id, reason)
        return nothing
    with part:
        place = st.empty()
    place.caption("computing …")

    def finish() -> None:
        found = again.ask([run.id], category, image_id)[0].get(run.id, Missing("It was not asked."))
        with place.container():
            if isinstance(found, Missing):
                st.caption(selection.shown(found.reason))
            else:
                _explain(title, run.id, category, explanation(found.reasons, image_id), image_id)
                st.caption(":material/bolt: Computed now; not kept with the run.")

    return finish


def _explain(
    title: str, run_id: str, category: str, found: Explanation, image_id: str, reason: str | None = None
) -> None:
    if not found:
        st.caption(selection.shown(reason) if reason else f"{title} gives no reasons for its scores.")
        return
    tiles = _places(run_id, category, found, pictures.picture(run_id, category, image_id))
    if tiles:
        pictures.show_tiles(tiles, width=180)
    if len(found.prompts):
        _prompts(found)


def _places(run_id: str, category: str, found: Explanation, picture: Picture) -> list[Tile]:
    """The image with its strongest windows, and the least familiar patch beside its nearest reference patch."""
    if isinstance(picture.pixels, Missing):
        return [Tile("Windows", picture.pixels, "")] if found.boxes or found.nearest else []
    image = enlarge(picture.pixels, pictures.SHORTEST)
    tiles = []
    if found.boxes:
        boxes = [corners(box, image.shape) for box in found.boxes]
        listed = ", ".join(
            f"{number}: {selection.tidy(row['text'])} ({row['value']:.3g})"
            for number, row in enumerate(found.windows.to_dict("records"), 1)
        )
        alt = f"The image with the {len(boxes)} places that look most abnormal"
        tiles.append(Tile("Most abnormal places", framed(image, boxes), alt, listed))
    near = found.nearest
    if near is not None:
        box = corners(near.patch, image.shape)
        patch = cut_out(framed(image, [box], numbered=False), box, AROUND)
        tiles.append(Tile("Least familiar patch", patch, "The patch that is least like the references, enlarged"))
        reference = pictures.reference(run_id, category, near.reference)
        title, note = f"Most like it: reference {near.reference + 1}", f"cosine similarity {near.similarity:.3f}"
        if isinstance(reference, Missing):
            tiles.append(Tile(title, reference, "", note))
        else:
            reference = enlarge(reference, pictures.SHORTEST)
            place = corners(near.place, reference.shape)
            marked = framed(reference, [place], numbered=False)
            tiles.append(Tile(title, cut_out(marked, place, AROUND), "The patch of a reference nearest to it", note))
            tiles.append(Tile("That reference", marked, "The whole reference with the patch marked"))
    return tiles


def _prompts(found: Explanation) -> None:
    lead = prompt_lead(found.prompts)
    shown = pd.DataFrame(
        {
            "Prompt": [selection.tidy(text, 120) for text in found.prompts["text"]],
            "Speaks for": found.prompts["towards"],
            "Similarity": [f"{value:.4f}" for value in found.prompts["value"]],
        }
    ).set_index("Prompt")
    st.markdown("Prompts most like the whole image")
    st.table(shown, border="horizontal", alt="The prompts most like the image, with their cosine similarity")
    if lead is not None:
        side = "an abnormal" if lead > 0 else "a normal"
        st.caption(f"The image is most like {side} prompt, by {abs(lead):.4f} of cosine similarity.")
