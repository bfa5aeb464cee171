"""Reading images and masks in a few threads, ahead of the model and in order."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from vlmad_core.backbones.feature_files import StoredImage
from vlmad_core.backbones.features import Features
from vlmad_core.datasets import Sample
from vlmad_core.datasets.fingerprint import UNREADABLE, content_hashes, files_hash
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.errors import VlmadError

READERS = 2
"""Reading threads; Pillow lets go of the interpreter while it decodes and resizes."""

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
        pixels: [3, S, S] float32; None if the image can't be read, once it was used, or where its features are known.
        features: What was known of it before, N = 1; None if nothing was, or once it was used.
        size: Height and width as read, in pixels; None if it can't be read.
        masks: Truth by map size, boolean [size, size]; None where it is unknown.
        defect_area: Share of the image that is defective; None where it is unknown.
        error: Why image or mask can't be used; None if both can.
        content: Hash over the files of image and mask.
        image_hash: Hash over the image's file.
        thumbnail: WebP bytes, or None.
        mask_picture: The truth at the thumbnail's size as PNG, or None.
        seconds: Time for reading and preprocessing.
    """

    sample: Sample
    pixels: Tensor | None
    masks: Mapping[int, np.ndarray | None]
    defect_area: float | None
    error: str | None
    content: str
    thumbnail: bytes | None
    mask_picture: bytes | None
    seconds: float
    features: Features | None = None
    size: tuple[int, int] | None = None
    image_hash: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is an image to score."""
        return self.pixels is not None or self.features is not None


@dataclass(frozen=True)
class ImageLoader:
    """Loads one image after the other; may be used from several threads.

    Attributes:
        preprocess: The backbone's.
        sizes: Map sizes at which the truth is wanted.
        thumbnails: Whether to make thumbnails.
        stopwatch: Where the time is noted.
        lookup: Gives what is known of an image by the hash of its file, if all that is wanted is; it is then not
            decoded.
        wanted: Flat names of the features that are wanted of it.
    """

    preprocess: Callable[[Image.Image], Tensor]
    sizes: Sequence[int]
    thumbnails: bool
    stopwatch: Stopwatch
    lookup: Callable[[str], StoredImage | None] | None = None
    wanted: frozenset[str] = frozenset()

    def __call__(self, sample: Sample) -> LoadedImage:
        """Load an image and its mask; what is wrong with them is said in ``error``."""
        start = time.perf_counter()
        image_hash, content = content_hashes(sample)
        nothing: dict[int, np.ndarray | None] = dict.fromkeys(self.sizes)
        known = self.lookup(image_hash) if self.lookup is not None else None
        image: Image.Image | None = None
        if known is None or self.thumbnails:
            try:
                image = read_image(sample.image_path)
                if self.lookup is not None and image_hash == UNREADABLE:  # it can be read again just now
                    raise OSError(f"{sample.image_path} could not be read for a moment.")
            except (VlmadError, OSError) as error:
                self.stopwatch.add("read", time.perf_counter() - start)
                return LoadedImage(sample, None, nothing, None, str(error), content, None, None, 0.0)
        read = time.perf_counter()
        try:
            pixels = self.preprocess(image) if known is None and image is not None else None
        except VlmadError as error:
            reason = f"{sample.image_path.name}: {error}"
            return LoadedImage(sample, None, nothing, None, reason, content, None, None, 0.0)
        ready = time.perf_counter()
        size = known.size if known is not None else None if image is None else (image.height, image.width)
        mask, problem = _truth(sample, size)
        masks = {size: None if mask is None else resize_mask(mask, (size, size)) for size in self.sizes}
        thumbnail = mask_picture = None
        if self.thumbnails and image is not None:
            small = image.copy()
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
            pixels=pixels,
            masks=masks,
            defect_area=None if mask is None else float(mask.mean()),
            error=problem,
            content=content,
            thumbnail=thumbnail,
            mask_picture=mask_picture,
            seconds=ready - start,
            features=known.features(self.wanted) if known is not None else None,
            size=size,
            image_hash=image_hash,
        )


def ahead(items: Iterable[In], work: Callable[[In], Out], depth: int, threads: int = READERS) -> Iterator[Out]:
    """Results of a function over items, in order, computed up to ``depth`` items ahead of their use."""
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
        if item.usable:
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


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
