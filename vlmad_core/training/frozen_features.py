"""Features of all training images, extracted once: an epoch over frozen features is then cheap.

They are kept in memory up to a bound, beyond it in memory-mapped temporary files.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.datasets import Dataset, Sample, canonical_name
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.errors import DatasetError, MethodError

MEMORY_BOUND = 2 * 1024**3
"""Bytes of features and masks that are kept in memory; more go to temporary files."""
EXTRACTION_BATCH = 16

Reading = Callable[[Features], dict[str, Tensor]]
"""What of the features a training keeps: tensors [N, ...] by name."""
Advance = Callable[[int], None]
"""Called with the number of images done since the last call."""


@dataclass(frozen=True)
class TrainingImages:
    """The test splits of data sets, as a training reads them.

    Attributes:
        samples: The N images that can be used.
        categories: (data set, category) of each group, in order of first appearance.
        groups: [N] int64, index into ``categories``.
        labels: [N] float32, 1 for abnormal.
        problems: A line for each image left out.
    """

    samples: tuple[Sample, ...]
    categories: tuple[tuple[str, str], ...]
    groups: Tensor
    labels: Tensor
    problems: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Images by ``data set/category``."""
        amounts = torch.bincount(self.groups, minlength=len(self.categories)).tolist()
        return {"/".join(pair): n for pair, n in zip(self.categories, amounts, strict=True)}


@dataclass(frozen=True)
class FrozenFeatures:
    """Features and masks of the N training images, by name of tensor.

    Attributes:
        tensors: [N, ...] float32 each.
        masks: [N, S, S] bool, at the backbone's input size.
    """

    tensors: Mapping[str, Tensor]
    masks: Tensor


def list_training_images(datasets: Sequence[Dataset]) -> TrainingImages:
    """The test images, normal and abnormal with masks: what the authors of both methods train on.

    Args:
        datasets: The auxiliary data sets; never the one to be judged.

    Raises:
        MethodError: If either class is missing.
    """
    kept: list[Sample] = []
    problems: list[str] = []
    for dataset in datasets:
        for sample in dataset.samples:
            if sample.split != "test":
                continue
            if sample.label == 1 and sample.mask_path is None:
                problems.append(f"{sample.id}: abnormal, but without a mask")
            else:
                kept.append(sample)
    names = {dataset.name: dataset.official or canonical_name(dataset.name) for dataset in datasets}
    pairs = [(names[sample.dataset], sample.category) for sample in kept]
    categories = tuple(dict.fromkeys(pairs))
    if {sample.label for sample in kept} != {0, 1}:
        raise MethodError(
            f"The test splits of {', '.join(names.values())} don't hold both normal images and abnormal ones with "
            "masks.",
            "Train on a data set with masks.",
        )
    return TrainingImages(
        tuple(kept),
        categories,
        torch.tensor([categories.index(pair) for pair in pairs]),
        torch.tensor([float(sample.label) for sample in kept]),
        tuple(problems),
    )


def read_pair(sample: Sample) -> tuple[Image.Image, np.ndarray]:
    """An image and its mask, boolean [height, width].

    Raises:
        DatasetError: If either can't be read.
    """
    image = read_image(sample.image_path)
    mask = sample_mask(sample, (image.height, image.width))
    if mask is None:
        raise DatasetError(f"{sample.image_path} is abnormal and has no mask.", "Train on a data set with masks.")
    return image, mask


@contextmanager
def extract_once(
    backbone: ClipBackbone,
    images: TrainingImages,
    request: FeatureRequest,
    reading: Reading,
    advance: Advance = lambda count: None,
    memory_bound: int = MEMORY_BOUND,
) -> Iterator[FrozenFeatures]:
    """Extract what a training reads of each image, and keep it while the context lasts.

    Args:
        backbone: The frozen backbone.
        images: The training images.
        request: What ``reading`` needs.
        reading: What to keep.
        advance: Told of progress.
        memory_bound: Bytes beyond which files are used.

    Raises:
        DatasetError: If an image can't be read.
    """
    side = backbone.info.image_size
    with tempfile.TemporaryDirectory(prefix="vlmad-") as folder:
        tensors: dict[str, Tensor] = {}
        masks: Tensor | None = None
        count = len(images.samples)
        for first in range(0, count, EXTRACTION_BATCH):
            pairs = [read_pair(sample) for sample in images.samples[first : first + EXTRACTION_BATCH]]
            batch = reading(encode(backbone, [image for image, _ in pairs], request))
            if masks is None:
                sizes = {name: count * math.prod(tensor.shape[1:]) * 4 for name, tensor in batch.items()}
                place = Path(folder) if sum(sizes.values()) + count * side * side > memory_bound else None
                masks = _allocate((count, side, side), torch.bool, place, "masks")
                tensors = {
                    name: _allocate((count, *tensor.shape[1:]), torch.float32, place, name)
                    for name, tensor in batch.items()
                }
            for name, tensor in batch.items():
                tensors[name][first : first + len(pairs)] = tensor
            masks[first : first + len(pairs)] = torch.stack([square_mask(mask, side) for _, mask in pairs])
            advance(len(pairs))
        assert masks is not None
        yield FrozenFeatures(tensors, masks)


def encode(backbone: ClipBackbone, images: Sequence[Image.Image], request: FeatureRequest) -> Features:
    """Features of a few images, on the CPU, where training keeps them and fits."""
    return backbone.encode_images(backbone.preprocess_batch(images), request).to("cpu")


def square_mask(mask: np.ndarray, side: int) -> Tensor:
    """A mask at the input size: [side, side] bool."""
    return torch.from_numpy(resize_mask(mask, (side, side)).copy())


def _allocate(shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None, name: str) -> Tensor:
    if folder is None:
        return torch.empty(shape, dtype=dtype)
    size = math.prod(shape)
    return torch.from_file(str(folder / name), shared=True, size=size, dtype=dtype).reshape(shape)
