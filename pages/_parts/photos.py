"""Step 1: the photos of a part, what was found in them, and what the part is called."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages._ui import data, selection
from vlmad_core.datasets import Dataset, list_datasets, load_dataset
from vlmad_core.datasets.loading import load_from
from vlmad_core.datasets.parts import Part
from vlmad_core.workspace import parts


def show_photos(part: Part | None) -> Part | None:
    """Choose photos and name the part, or say what a kept part has.

    Args:
        part: A kept part, or None for a new one.

    Returns:
        The part, not kept yet where it is new; None until there are photos and a name.
    """
    st.subheader("1. Photos", anchor=False)
    if part is None:
        folder = st.text_input("Folder on the server", key="part_folder")
        title = st.text_input("What is it? (in words, as prompts name it)", key="part_title")
        if not folder or not title.strip():
            return None
        part = parts.new_part(title.strip(), title.strip().lower(), Path(folder))
    found = listing(part)
    good, bad = (sum(sample.label == label for sample in found.samples) for label in (0, 1))
    st.markdown(f"**{selection.tidy(part.title)}**: {good} good and {bad} defective photos.")
    return part


def listing(part: Part) -> Dataset:
    """A part's data set, whether its photos are written or still in memory.

    Raises:
        VlmadError: If it can't be read.
    """
    return load_dataset(part.slug) if part.kept else load_from(part.photos, part.slug)


def keep(part: Part) -> Part:
    """Write a part to the workspace if it is not there yet, its photos too where they were uploaded.

    Returns:
        The part as it is kept: its slug may be another one now.

    Raises:
        VlmadError: If the workspace can't be written to.
    """
    if part.kept:
        return part
    taken = {one.dataset for one in data.all_comparisons()} | {entry.name for entry in list_datasets()}
    kept = parts.keep(part, taken)
    selection.remember("dataset", kept.slug)
    return kept
