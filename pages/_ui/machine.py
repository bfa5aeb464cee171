"""What this machine offers to the live demo and the prompt lab: the backbone all visitors share, and data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from vlmad_core.datasets import Dataset, list_datasets, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.live.choices import Choice
    from vlmad_core.live.panel import Engine

THUMBNAIL = 112


@st.cache_resource(max_entries=2, show_spinner="Loading the backbone, once for all visitors …")
def engine(backbone: str, precision: AskedPrecision, device: str) -> Engine:
    """The engine that all visitors share.

    Raises:
        VlmadError: If the backbone can't be loaded, or the device is not there.
    """
    from vlmad_core.live.predict import load_engine

    return load_engine(backbone, precision, device)


@st.cache_data(ttl=30, show_spinner=False)
def backbones(named: str | None) -> tuple[Choice, ...]:
    """Backbones with the reason where one can't be chosen."""
    from vlmad_core.live.choices import backbone_choices

    return backbone_choices(named)


def address() -> str | None:
    """What the server is bound to; None where it answers to everybody."""
    return st.get_option("server.address") or None


def example_sets() -> dict[str, str]:
    """Names of the data sets on this machine, with how they are called."""
    return {e.name: e.title or e.name for e in list_datasets() if e.available}


@st.cache_resource(max_entries=3, show_spinner="Listing the images …")
def examples(name: str) -> Dataset:
    """A data set's listing.

    Raises:
        VlmadError: If it can't be read.
    """
    return load_dataset(name)


@st.cache_data(max_entries=400, show_spinner=False)
def small(dataset: str, image_id: str) -> bytes | None:
    """A small copy of an example, or None if it can't be read."""
    sample = next((s for s in examples(dataset).samples if s.id == image_id), None)
    return small_copy(sample.image_path) if sample else None


def small_copy(source: Path | bytes) -> bytes | None:
    """A small copy of an image as WebP, or None if it can't be read."""
    try:
        image = read_image(source)
    except VlmadError:
        return None
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
