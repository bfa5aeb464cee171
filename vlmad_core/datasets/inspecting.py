"""Decoding every image and mask of a data set: what can't be read, what does not fit, and what is there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from vlmad_core.datasets.images import open_checked, pixel_hash, read_image
from vlmad_core.datasets.masks import MASK_LIMITS, to_mask
from vlmad_core.datasets.sample import Sample
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable

Severity = Literal["error", "difference", "note"]
Content = Callable[[Path], Path | bytes]
"""Where the bytes of a listed file are: in the file itself, or in memory."""

_THREADS = 2
_LARGE = 0.9
_MASK_MODES = {"1": "1-bit", "P": "palette", "PA": "palette"}


@dataclass(frozen=True)
class FileFinding:
    """One thing that was found about one file, folder or category.

    Attributes:
        kind: A short stable identifier, e.g. ``missing_mask``.
        severity: ``error`` (an item is lost or wrong), ``difference`` (from the published counts) or ``note``
            (read as it should be, but worth knowing).
        path: The file or folder concerned.
        message: What is wrong and what to do about it.
    """

    kind: str
    severity: Severity
    path: Path
    message: str


@dataclass(frozen=True)
class _Seen:
    sample: Sample
    pixels: str | None
    size: tuple[int, int] | None
    findings: tuple[FileFinding, ...]


@dataclass(frozen=True)
class Inspected:
    """What decoding all files of a data set showed.

    Attributes:
        findings: In the order of the samples, then duplicates.
        sizes: Number of images by width and height in pixels.
    """

    findings: tuple[FileFinding, ...]
    sizes: Mapping[tuple[int, int], int]


def inspect_files(samples: Sequence[Sample], content: Content = Path) -> Inspected:
    """Decode every image and mask and compare them; one bad file costs nothing but itself.

    Args:
        samples: The samples as listed.
        content: Where their bytes are.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(lambda sample: _inspect(sample, content), samples))
    findings = [finding for entry in seen for finding in entry.findings]
    sizes = Counter(entry.size for entry in seen if entry.size is not None)
    return Inspected((*findings, *_duplicates(seen)), sizes)


def _inspect(sample: Sample, content: Content) -> _Seen:
    findings: list[FileFinding] = []
    pixels: str | None = None
    size: tuple[int, int] | None = None
    path = sample.image_path
    try:
        image = read_image(content(path), name=str(path))
    except DatasetError as error:
        findings.append(FileFinding("unreadable_image", "error", path, _without_path(error, path)))
    else:
        pixels, size = pixel_hash(image), image.size
    if sample.mask_path is not None:
        findings.extend(_inspect_mask(sample.mask_path, size, content))
    return _Seen(sample, pixels, size, tuple(findings))


def _inspect_mask(path: Path, size: tuple[int, int] | None, content: Content) -> Iterable[FileFinding]:
    try:
        image = open_checked(content(path), MASK_LIMITS, name=str(path))
        mask = to_mask(image, str(path))
    except DatasetError as error:
        yield FileFinding("unreadable_mask", "error", path, _without_path(error, path))
        return
    yield from _mask_mode(path, image)
    if size is not None and mask.shape != size[::-1]:
        yield FileFinding(
            "mask_size",
            "error",
            path,
            f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {size[0]} x {size[1]}; give it at the size of"
            " its image.",
        )
    if not mask.any():
        yield FileFinding(
            "empty_mask", "error", path, "no pixel is marked though the image is defective; mark the defect."
        )
    elif mask.all():
        yield FileFinding("full_mask", "error", path, "every pixel is marked; is it inverted, or saved with loss?")
    elif mask.mean() > _LARGE:
        yield FileFinding("large_mask", "note", path, f"marks {mask.mean():.0%} of the image; is it inverted?")


def _mask_mode(path: Path, image: Image.Image) -> Iterable[FileFinding]:
    if path.suffix.lower() in (".jpg", ".jpeg"):
        yield FileFinding(
            "jpeg_mask", "error", path, "saved as JPEG, whose noise marks pixels around the defect; use PNG."
        )
    word = _MASK_MODES.get(image.mode)
    if word is not None:
        yield FileFinding("mask_mode", "note", path, f"a {word} mask; read as marked where its colour is not black.")
    elif image.mode not in ("L", "F") and not image.mode.startswith("I"):
        layers = np.asarray(image.convert("RGB"))
        coloured = bool((layers != layers[..., :1]).any())
        how = "coloured" if coloured else "grey throughout"
        yield FileFinding(
            "mask_mode", "note", path, f"a {image.mode} mask ({how}); read as marked where any channel is above 0."
        )


def _duplicates(seen: Sequence[_Seen]) -> Iterable[FileFinding]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for entry in seen:
        if entry.pixels is not None:
            groups[entry.pixels].append(entry.sample)
    for group in groups.values():
        trained = next((sample for sample in group if sample.split == "train"), None)
        for number, sample in enumerate(group):
            if trained is not None and sample.split == "test":
                yield FileFinding(
                    "train_in_test",
                    "error",
                    sample.image_path,
                    f"the same pixels as the training image {trained.id}; remove one of them.",
                )
            elif number and (trained is None or sample is not trained):
                first = group[0] if group[0].split == sample.split else trained or group[0]
                other = "" if first.label == sample.label else ", with another label"
                yield FileFinding(
                    "duplicate", "error", sample.image_path, f"the same pixels as {first.id}{other}; remove one."
                )


def _without_path(error: DatasetError, path: Path) -> str:
    return str(error).removeprefix(f"{printable(path)}: ")
