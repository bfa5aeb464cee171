"""The listed failures as files: a table, and the pictures where the data set's licence allows copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
import streamlit as st

from pages._ui import data, pictures, selection
from vlmad_core.analysis.comparison import Comparison, Line
from vlmad_core.analysis.failures import MOST_PICTURES, csv_of, may_copy, picture_name, zip_of
from vlmad_core.figures.overlay import OPACITY, encode
from vlmad_core.store.annotations import Annotation
from vlmad_core.store.reader import Missing


def buttons(one: Comparison, line: Line, listed: pd.DataFrame, marked: Mapping[str, Annotation], name: str) -> None:
    """Buttons for the listed images as csv, and with their images as zip; files are made when asked for.

    Args:
        one: What is compared.
        line: The method.
        listed: The list, as ``verdicts.ranked`` gives it.
        marked: Notes by image.
        name: Name of the files, without the ending.
    """
    about = {"dataset": one.dataset, "method": line.id, "shots": line.shots}
    refused = may_copy(one.runs[0].provenance.data)

    def table() -> str:
        return csv_of(listed, marked, about)

    def archive() -> bytes:
        return zip_of(csv_of(listed, marked, about), _pictures(line, listed.head(MOST_PICTURES)))

    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "This list as csv", table, f"{name}.csv", "text/csv", icon=":material/download:", on_click="ignore",
            disabled=listed.empty,
        )  # fmt: skip
        st.download_button(
            "With images as zip", archive, f"{name}.zip", "application/zip", icon=":material/folder_zip:",
            on_click="ignore", disabled=refused is not None or listed.empty,
        )  # fmt: skip
        if refused is not None:
            st.caption(selection.tidy(refused, 300))
        elif len(listed) > MOST_PICTURES:
            st.caption(f"The zip holds the images of the first {MOST_PICTURES}.")


def _pictures(line: Line, listed: pd.DataFrame) -> Iterator[tuple[str, bytes | Missing]]:
    """Each image, and its map with the true outline where there is one."""
    for row in listed.to_dict("records"):
        category, image_id, rank = str(row["category"]), str(row["image_id"]), int(row["rank"])
        run = line.run_with(category)
        if run is None:
            continue
        pixels = pictures.picture(run.id, category, image_id).pixels
        yield picture_name(rank, image_id, ".webp"), pixels if isinstance(pixels, Missing) else encode(pixels)
        scale = data.rarity(run.id, category)
        drawn = pictures.drawn_map(run.id, category, image_id, scale, OPACITY, True) if scale else None
        if drawn is not None and not isinstance(drawn, Missing) and not isinstance(pixels, Missing):
            yield picture_name(rank, image_id, "-map.webp"), drawn.content
