"""What this machine offers to the live demo and the prompt lab: the backbone all visitors share, and data sets."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import streamlit as st

from vlmad_core.datasets import Dataset, list_datasets, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.errors import VlmadError
from vlmad_core.inference.client import Inference

if TYPE_CHECKING:
    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.live.choices import Choice
    from vlmad_core.live.remote import RemoteEngine

THUMBNAIL = 112


@st.cache_resource(show_spinner=False)
def inference() -> Inference:
    """The way to the process that computes with models, one for all visitors."""
    return Inference()


@st.cache_resource
def warm_up() -> None:
    """Start the process now, so that it loads what it needs while the first visitor looks around."""
    with contextlib.suppress(OSError, VlmadError):  # it is said where the models are asked for
        inference().start()


def visitor() -> str:
    """Stands for this visitor in the line for the models."""
    return str(st.session_state.setdefault("visitor", uuid4().hex))


def in_line(before: int | None) -> str:
    """The place in the line, as it is added to what is said of the progress; empty for who has the turn."""
    return f" · {before} before you" if before else ""


def engine(backbone: str, precision: AskedPrecision, device: str) -> RemoteEngine:
    """The backbone that all visitors share.

    Raises:
        VlmadError: If it can't be loaded, or the device is not there.
    """
    return _engine(backbone, precision, device, visitor())


@st.cache_resource(max_entries=2, show_spinner="Loading the backbone, once for all visitors …")
def _engine(backbone: str, precision: AskedPrecision, device: str, _visitor: str) -> RemoteEngine:
    from vlmad_core.live.remote import load

    found: RemoteEngine = inference().look_up(_visitor, load, backbone, precision, device)
    return found


@st.cache_resource(max_entries=8, show_spinner="Starting the models, once for all visitors …")
def offers(device: str, _visitor: str) -> tuple[tuple[str, ...], tuple[Choice, ...]]:
    """The devices there are, and the precisions on one of them.

    Raises:
        VlmadError: If it is not there.
    """
    from vlmad_core.live import remote

    found: tuple[tuple[str, ...], tuple[Choice, ...]] = inference().look_up(_visitor, remote.offers, device)
    return found


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
