"""What prompts are judged on: the test images of a data set as features in memory, with labels and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.backbones import BackboneInfo, FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.feature_cache import Encoder, FeatureCache, content_key
from vlmad_core.datasets import Dataset, Sample
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.errors import VlmadError
from vlmad_core.metrics.prepared import PreparedMasks, prepare_masks

EVAL_SIZE = 256
"""Side of the maps on which pixel metrics are computed, as in the tables of all methods."""

MOST_BYTES = 6 * 2**30
"""Features held in memory at most; patches of more images than that are left out, and pixel metrics with them."""


@dataclass(frozen=True)
class LabCategory:
    """The test images of one category.

    Attributes:
        name: As the data set writes it.
        noun: In words, as prompts name it.
        image_ids: Ids of the N images, in order.
        labels: Boolean [N]; True is anomalous.
        features: Of the N images.
        masks: Ground truth of the images of ``masked`` at ``EVAL_SIZE``; None where pixel metrics don't exist.
        masked: Indices of the images whose truth is known, int64.
        why_no_pixels: Why there are no pixel metrics, or None.
    """

    name: str
    noun: str
    image_ids: tuple[str, ...]
    labels: NDArray[np.bool_]
    features: Features
    masks: PreparedMasks | None
    masked: NDArray[np.int64]
    why_no_pixels: str | None = None


@dataclass(frozen=True)
class LabData:
    """A data set in memory.

    Attributes:
        dataset: Its name.
        names: All names it goes by, for records of what an ensemble was tuned on.
        categories: Its categories that have test images.
        reserved: Categories on which nothing is ever chosen or tuned.
        problems: What could not be used, in sentences.
    """

    dataset: str
    names: tuple[str, ...]
    categories: tuple[LabCategory, ...]
    reserved: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the categories, in order."""
        return tuple(category.name for category in self.categories)

    def category(self, name: str) -> LabCategory:
        """One of the categories; ``name`` must be among ``category_names``."""
        return next(category for category in self.categories if category.name == name)


def lab_samples(dataset: Dataset) -> tuple[Sample, ...]:
    """The test images of a data set that the lab scores, category by category."""
    return tuple(sample for category in dataset.categories for sample in dataset.select(category, "test"))


def count_cached(dataset: Dataset, info: BackboneInfo, request: FeatureRequest, cache: FeatureCache) -> int:
    """How many of the test images need not pass the vision tower; their files are read once for it."""
    held = 0
    for sample in lab_samples(dataset):
        try:
            held += cache.holds(info, content_key(sample.image_path), request)
        except OSError:
            continue  # said by its name when it is loaded
    return held


def lab_bytes(dataset: Dataset, info: BackboneInfo, request: FeatureRequest) -> int:
    """Memory that the features of all test images take, in bytes."""
    return len(lab_samples(dataset)) * request.bytes_per_image(info)


def load_lab_data(
    dataset: Dataset,
    backbone: Encoder,
    request: FeatureRequest,
    cache: FeatureCache | None,
    advance: Callable[[int], None] = lambda count: None,
    most_bytes: int = MOST_BYTES,
) -> LabData:
    """Bring the test images of a data set into memory; features come from the cache or are extracted now.

    An image or mask that can't be read costs that image only and is named among the problems.

    Args:
        dataset: The data set.
        backbone: Extracts what is not in the cache.
        request: The features the methods need.
        cache: Where to look and to store; None to extract everything.
        advance: Told 1 after each image.
        most_bytes: If all features would take more, patches and windows are left out, and with them pixel metrics.

    Raises:
        VlmadError: If none of the images can be used.
    """
    problems: list[str] = []
    why_not = None
    if lab_bytes(dataset, backbone.info, request) > most_bytes:
        why_not = f"The patches of all images take more than the {most_bytes / 2**30:.1f} GB of memory set aside."
        problems.append(f"{why_not} Image metrics only.")
        request = FeatureRequest(image_embedding=request.image_embedding)
    categories = []
    for name in dataset.categories:
        found = _load_category(name, dataset.select(name, "test"), backbone, request, cache, advance, problems, why_not)
        categories += [found] if found is not None else []
    if not categories:
        first = problems[0] if problems else "It has no test images."
        raise VlmadError(f"Nothing of {dataset.name} can be scored. {first}", "See 'datasets check'.")
    names = tuple(dict.fromkeys(name for name in (dataset.name, dataset.official) if name))
    return LabData(dataset.name, names, tuple(categories), dataset.reserved, tuple(problems))


def _load_category(
    name: str,
    samples: Sequence[Sample],
    backbone: Encoder,
    request: FeatureRequest,
    cache: FeatureCache | None,
    advance: Callable[[int], None],
    problems: list[str],
    why_not: str | None,
) -> LabCategory | None:
    parts: list[Features] = []
    used: list[Sample] = []
    masks: list[NDArray[np.bool_]] = []
    masked: list[int] = []
    for sample in samples:
        advance(1)
        try:
            features, size = _features_of(sample, backbone, request, cache)
        except (VlmadError, OSError) as error:
            problems.append(f"{sample.id} is left out: {error}")
            continue
        mask = None
        if why_not is None:
            try:
                mask = sample_mask(sample, size)
            except (VlmadError, OSError) as error:
                problems.append(f"{sample.id} counts for image metrics only: {error}")
        if mask is not None:
            masked.append(len(used))
            masks.append(resize_mask(mask, (EVAL_SIZE, EVAL_SIZE)))
        parts.append(features)
        used.append(sample)
    if not used:
        return None
    labels = np.array([sample.label == 1 for sample in used])
    if why_not is None and not any(mask.any() for mask in masks):
        why_not = "No defective image has a mask." if labels.any() else "There are no defective images."
    return LabCategory(
        name=name,
        noun=category_noun(name),
        image_ids=tuple(sample.id for sample in used),
        labels=labels,
        features=concatenate_features(parts),
        masks=prepare_masks(masks) if why_not is None else None,
        masked=np.array(masked, np.int64),
        why_no_pixels=why_not,
    )


def _features_of(
    sample: Sample, backbone: Encoder, request: FeatureRequest, cache: FeatureCache | None
) -> tuple[Features, tuple[int, int]]:
    """Features of one image, and its height and width."""
    content = content_key(sample.image_path) if cache is not None else ""
    if cache is not None:
        stored = cache.read(backbone.info, content, request)
        if stored is not None:
            return stored.features(request.names()), stored.size
    image = read_image(sample.image_path)
    pixels, size = backbone.preprocess(image), (image.height, image.width)
    if cache is None:
        return backbone.encode_images(pixels[None], request), size
    return cache.encode(backbone, content, pixels, size, request), size
