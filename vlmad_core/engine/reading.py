"""Reading images and masks in a few threads, ahead of the model and in order."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.devices import to_device
from vlmad_core.backbones.tower import Backbone, ImageInput
from vlmad_core.datasets import Sample
from vlmad_core.datasets.fingerprint import UNREADABLE, content_hashes, files_hash
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.datasets.views import View
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.tiles import tile_pixels
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

READERS = 2
"""Reading threads beside a tower on the CPU; Pillow lets go of the interpreter while it decodes and resizes."""

MOST_READERS = 32
"""Reading threads at most where the tower stands on a device and leaves the cores to them."""

THUMBNAIL_SIDE = 160
"""Longer side of thumbnails, in pixels."""

WEBP_QUALITY = 75

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class LoadedImage:
    """An image made ready for the model, with all else that is needed of it.

    Attributes:
        sample: What it is.
        inputs: What goes into the backbone, tile by tile; empty if the image can't be read, or there is no backbone.
        masks: Truth of the region by map size, boolean [size, size]; None where it is unknown.
        defect_area: Share of the region that is defective; None where it is unknown.
        error: Why image or mask can't be used; None if both can.
        content: Hash over the files of image and mask.
        thumbnail: WebP bytes, or None.
        mask_picture: The truth at the thumbnail's size as PNG, or None.
    """

    sample: Sample
    inputs: tuple[ImageInput, ...]
    masks: Mapping[int, np.ndarray | None]
    defect_area: float | None
    error: str | None
    content: str
    thumbnail: bytes | None
    mask_picture: bytes | None


@dataclass(frozen=True)
class ImageLoader:
    """Loads one image after the other; may be used from several threads.

    Attributes:
        backbone: What the images are for; one of which it knows all that is wanted is not decoded. None where nothing
            but the truth is wanted.
        sizes: Map sizes at which the truth is wanted.
        thumbnails: Whether to make thumbnails.
        stopwatch: Where the time is noted.
        request: The features that are wanted of the images.
        view: How photos are looked at; all that is made of them is of its region.
    """

    backbone: Backbone | None
    sizes: Sequence[int]
    thumbnails: bool
    stopwatch: Stopwatch
    request: FeatureRequest = field(default_factory=FeatureRequest)
    view: View = field(default_factory=View)

    def __call__(self, sample: Sample) -> LoadedImage:
        """Load an image and its mask; what is wrong with them is said in ``error``."""
        start = time.perf_counter()
        image_hash, content = content_hashes(sample)
        nothing: dict[int, np.ndarray | None] = dict.fromkeys(self.sizes)
        given = () if self.backbone is None else self._inputs(self.backbone, sample, image_hash)
        known = bool(given) and all(one.known is not None for one in given)
        image: Image.Image | None = None
        if not known or self.thumbnails:
            try:
                image = read_image(sample.image_path)
            except (VlmadError, OSError) as error:
                self.stopwatch.add("read", time.perf_counter() - start)
                return LoadedImage(sample, (), nothing, None, str(error), content, None, None)
        read = time.perf_counter()
        try:
            if self.backbone is not None and image is not None and not known:
                for one, tile in zip(given, tile_pixels(self.backbone, self.view, image), strict=True):
                    one.take(to_device(tile, self.backbone.device), (image.height, image.width))
        except VlmadError as error:
            reason = f"{sample.image_path.name}: {error}"
            return LoadedImage(sample, (), nothing, None, reason, content, None, None)
        ready = time.perf_counter()
        size = None if image is None else (image.height, image.width)
        for one in given:
            size, one.seconds = one.size, (ready - start) / len(given) if one.was_read else 0.0
        mask, problem = _truth(sample, size)
        mask = None if mask is None else self.view.cut_mask(mask)
        masks = {size: None if mask is None else resize_mask(mask, (size, size)) for size in self.sizes}
        thumbnail = mask_picture = None
        if self.thumbnails and image is not None:
            small = self.view.cut_region(image).copy()
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
            thumbnail = _encoded(small, "WEBP", quality=WEBP_QUALITY, method=4)
            if mask is not None and sample.label == 1:
                truth = resize_mask(mask, (small.height, small.width)).astype(np.uint8) * 255
                mask_picture = _encoded(Image.fromarray(truth), "PNG", optimize=True)
        self.stopwatch.add("read", read - start)
        self.stopwatch.add("preprocess", ready - read)
        self.stopwatch.add("truth", time.perf_counter() - ready)
        return LoadedImage(
            sample=sample,
            inputs=given,
            masks=masks,
            defect_area=None if mask is None else float(mask.mean()),
            error=problem,
            content=content,
            thumbnail=thumbnail,
            mask_picture=mask_picture,
        )

    def _inputs(self, backbone: Backbone, sample: Sample, image_hash: str) -> tuple[ImageInput, ...]:
        """A photo's tiles for a backbone, with what that knows of them, if it knows all that is wanted."""

        def made(tile: int) -> ImageInput:
            def read() -> tuple[Tensor, tuple[int, int]]:
                image = read_image(sample.image_path)
                return tile_pixels(backbone, self.view, image)[tile], (image.height, image.width)

            key, name = "" if image_hash == UNREADABLE else image_hash, self.view.tile_name(tile)
            if key and name:
                key = hashlib.sha256(f"{key} {name}".encode()).hexdigest()
            return ImageInput(key, read, backbone.recall(key, self.request) if key else None)

        return tuple(map(made, range(self.view.count)))


def readers(device: torch.device) -> int:
    """How many threads are to read images for a tower on a device."""
    return READERS if device.type == "cpu" else max(READERS, min(MOST_READERS, os.cpu_count() or 1))


def ahead(items: Iterable[In], work: Callable[[In], Out], depth: int, threads: int = READERS) -> Iterator[Out]:
    """Results of a function over items, in order, computed up to ``depth`` items ahead of their use.

    Args:
        items: The items.
        work: The function.
        depth: The bound on memory: results that wait to be used, at most.
        threads: How many at a time.
    """
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="vlmad-read") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def batches(items: Iterable[LoadedImage], size: int) -> Iterator[tuple[list[LoadedImage], list[LoadedImage]]]:
    """Cut usable images into batches; with each batch come all images, usable or not, met since the last."""
    met: list[LoadedImage] = []
    batch: list[LoadedImage] = []
    for item in items:
        met.append(item)
        if item.inputs:
            batch.append(item)
        if len(batch) == size:
            yield batch, met
            batch, met = [], []
    if met:
        yield batch, met


def contents_hash(images: Iterable[LoadedImage]) -> str:
    """Sixteen hex digits over the files of images and masks."""
    return files_hash((image.sample.id, image.content) for image in images)


def samples_hash(samples: Iterable[Sample]) -> str:
    """What ``contents_hash`` will give for these images, without decoding them."""
    return files_hash((sample.id, content_hashes(sample)[1]) for sample in samples)


def _truth(sample: Sample, size: tuple[int, int] | None) -> tuple[np.ndarray | None, str | None]:
    """The mask at the image's size, or None with what is wrong with it (nothing, where there is just none)."""
    if size is None:
        return None, None
    try:
        return sample_mask(sample, size), None
    except (VlmadError, OSError) as error:
        return None, str(error)


def thumbnail_of(image: Image.Image) -> tuple[Image.Image, bytes]:
    """An image at the size of a thumbnail, and the bytes of that."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return small, _encoded(small, "WEBP", quality=WEBP_QUALITY, method=4)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
