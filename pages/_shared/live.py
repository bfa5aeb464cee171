"""The live demo's machinery: one backbone for all visitors, examples, and the last result of each session."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from pages._shared import data, selection
from vlmad_core.datasets import Dataset, Sample, list_datasets, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.errors import VlmadError
from vlmad_core.figures.scale import ColourScale, raw_scale
from vlmad_core.results.comparison import Line
from vlmad_core.results.verdicts import StoredThreshold, image_thresholds

if TYPE_CHECKING:
    from torch import Tensor

    from vlmad_core.backbones import BackboneInfo, ClipBackbone
    from vlmad_core.live import LivePrediction

FIRST_METHODS = ("clip_ac", "clip_cpe", "winclip")
MOST_METHODS = 6
THUMBNAIL = 112


@dataclass(frozen=True)
class Yardstick:
    """What a stored run of the same method, backbone and category knows: thresholds and a colour scale.

    Attributes:
        run_id: The run.
        thresholds: By name; the first is the default.
        scale: How rare a map value is on normal images; None without maps.
    """

    run_id: str
    thresholds: dict[str, StoredThreshold]
    scale: ColourScale | None


@st.cache_resource(max_entries=1, show_spinner="Loading the backbone, once for all visitors …")
def backbone() -> ClipBackbone:
    """The backbone of the live demo: the bundled one, or what ``VLMAD_BACKBONE`` names.

    Raises:
        VlmadError: If it can't be loaded.
    """
    from vlmad_core.backbones import load_backbone

    return load_backbone(os.environ.get("VLMAD_BACKBONE", "bundled"))


def live_methods(info: BackboneInfo, dataset: str | None) -> dict[str, str]:
    """Titles by name of the methods that can judge a single image with this backbone.

    Methods that need trained parameters are among them where there are some for this backbone that were not
    trained on the data set the image comes from.

    Args:
        info: The backbone's info.
        dataset: Name of the data set the image comes from; None for an image of the visitor's own.
    """
    from vlmad_core.methods import create_method, find_parameters, list_methods

    found = {}
    for name in list_methods():
        method = create_method(name)
        able = not method.capabilities.transductive
        if able and (not method.capabilities.trained or find_parameters(name, info, dataset) is not None):
            found[name] = method.title()
    return found


def parameters_of(
    methods: Sequence[str], info: BackboneInfo, dataset: str | None
) -> dict[str, tuple[dict[str, Tensor], tuple[str, ...]]]:
    """For each method that trains: its parameters, and the names of the data sets they were trained on.

    Raises:
        VlmadError: If they can't be read.
    """
    from vlmad_core.methods import find_parameters

    found = {}
    for name in methods:
        path = find_parameters(name, info, dataset)
        if path is not None:
            found[name] = _parameters(path, name, info)
    return found


@st.cache_resource(max_entries=8, show_spinner=False)
def _parameters(path: Path, method: str, _info: BackboneInfo) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    from vlmad_core.methods import load_parameters

    tensors, record = load_parameters(path, method, _info)
    return tensors, record.training_data or ()


def example_sets() -> dict[str, str]:
    """Names of the data sets on this machine, with how they are called."""
    return {e.name: e.name for e in list_datasets() if e.available}


@st.cache_resource(max_entries=3, show_spinner="Listing the examples …")
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
    try:
        image = read_image(sample.image_path) if sample else None
    except VlmadError:
        return None
    if image is None:
        return None
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def showcase(samples: Sequence[Sample], chosen: str, most: int = 7) -> tuple[Sample, ...]:
    """A few examples: a normal one, one of each defect type, and the one that is chosen."""
    test = [sample for sample in samples if sample.split == "test"]
    first_of_type: dict[str, Sample] = {}
    for sample in sorted(test, key=lambda s: (s.label, s.id)):
        first_of_type.setdefault(sample.defect_type, sample)
    picked = list(first_of_type.values())[:most]
    extra = [sample for sample in test if sample.id == chosen and sample not in picked]
    return tuple(picked[: most - len(extra)] + extra)


def what_it_is(sample: Sample) -> str:
    """Normal, or its defect type in words."""
    return "normal" if sample.label == 0 else selection.tidy(sample.defect_type.replace("_", " "))


def yardstick(info: Any, method: str, shots: int, category: str) -> Yardstick | None:
    """A stored run that measured the same method with the same backbone on the same category, if there is one.

    Args:
        info: The backbone's info.
        method: ``name`` or ``name:preset``.
        shots: References used.
        category: The category in words, or as the data set writes it.
    """
    wanted = _words(category)
    for one in data.all_comparisons():
        same = ("weights_hash", "image_size", "precision", "activation")
        if any(one.backbone.get(key) != getattr(info, key) for key in same):
            continue
        for line in one.lines(shots):
            match = next((name for name in one.categories if _words(name) == wanted), None)
            if match and f"{line.method}:{line.preset}" == (method if ":" in method else f"{method}:canonical"):
                found = _read(line, match)
                if found is not None:
                    return found
    return None


def common_scale(maps: Sequence[np.ndarray]) -> ColourScale:
    """One scale in raw units for maps without stored runs: 0 to 1, or further where a map goes further."""
    return raw_scale(min([0.0, *(float(np.min(m)) for m in maps)]), max([1.0, *(float(np.max(m)) for m in maps)]))


def judge(
    image: Image.Image,
    methods: Sequence[str],
    category: str,
    references: Sequence[Image.Image],
    parameters: Mapping[str, Mapping[str, Tensor]],
) -> Iterator[LivePrediction]:
    """Judge an image; results that this session already has are not computed again.

    Raises:
        VlmadError: If the backbone can't be loaded or can't use the image.
    """
    key = _key(image, methods, category, references, sorted(parameters))
    if st.session_state.get("live_key") == key:
        yield from st.session_state["live_results"]
        return
    from vlmad_core.live import predict_each

    results = []
    for prediction in predict_each(image, list(methods), category, backbone(), tuple(references), parameters):
        results.append(prediction)
        yield prediction
    st.session_state["live_key"], st.session_state["live_results"] = key, results


def _read(line: Line, category: str) -> Yardstick | None:
    run = line.run_with(category)
    if run is None:
        return None
    images = data.store().images(run.id, category)
    return Yardstick(run.id, image_thresholds(run, category, images), data.rarity(run.id, category))


def _words(category: str) -> str:
    return " ".join(category.replace("_", " ").lower().split())


def _key(
    image: Image.Image,
    methods: Sequence[str],
    category: str,
    references: Sequence[Image.Image],
    trained: Sequence[str],
) -> str:
    digest = hashlib.sha256(repr((list(methods), category, list(trained))).encode())
    for one in (image, *references):
        digest.update(repr(one.size).encode() + one.tobytes())
    return digest.hexdigest()
