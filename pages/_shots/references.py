"""The normal references that runs were given, as small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from pages._ui import data, selection
from vlmad_core import paths
from vlmad_core.analysis.comparison import Comparison
from vlmad_core.datasets import Sample, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.engine.drawn import references_of
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.overlay import encode
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord

SIDE = 160
"""Longer side of a picture, in pixels."""


def show_references(one: Comparison, category: str) -> None:
    """For each draw, the references of a category in the order they were drawn, so that fewer shots are the first."""
    drawing: dict[int, RunRecord] = {}
    for run in sorted((run for run in one.runs if run.key.shots), key=lambda run: run.key.shots):
        drawing[run.key.seed] = run
    st.subheader("Which references were used", anchor="references")
    st.caption(
        f"References of **{category_label(category)}**, the same for all methods. They are drawn from the normal "
        "training images in a fixed order, so the references of one shot are among those of two."
    )
    counts = [k for k in one.shots if k]
    for seed, run in sorted(drawing.items()):
        found = references_of(run, category, _samples(str(run.provenance.data.get("source", ""))))
        if isinstance(found, Missing):
            st.caption(f"Seed {seed}: {selection.tidy(found.reason, 160)}")
            continue
        st.markdown(f":gray[Seed {seed}]")
        with st.grid("auto", min_column_width=110, gap="small"):
            for place, sample in enumerate(found, start=1):
                first = next((k for k in counts if k >= place), run.key.shots)
                st.image(
                    _small(data.signature(paths.stores()), str(sample.image_path)) or _blank(), width=110,
                    caption=f"from {first} shot{'' if first == 1 else 's'} on",
                    alt=f"Reference {place} of seed {seed}: a normal {category_label(category)}",
                )  # fmt: skip


@st.cache_resource(max_entries=4, show_spinner=False)
def _samples(source: str) -> tuple[Sample, ...]:
    """The samples of a data set; empty where it is not on this machine."""
    try:
        return load_dataset(source).samples if source else ()
    except VlmadError:
        return ()


@st.cache_data(max_entries=256, show_spinner=False)
def _small(mark: str, path: str) -> bytes | None:
    """An image of a listed sample, made small; None if it can't be read."""
    try:
        image = read_image(Path(path))
    except VlmadError:
        return None
    image.thumbnail((SIDE, SIDE))
    return encode(np.asarray(image))


def _blank() -> bytes:
    """A grey picture in the place of one that can't be read."""
    return encode(np.full((SIDE, SIDE, 3), 128, np.uint8))
