"""One hash for a data set as it is on disk, recorded with every run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlmad_core.datasets.sample import Sample

UNREADABLE = "unreadable"
"""What stands for the hash of a file that can't be read."""

_THREADS = 2


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, or ``unreadable`` where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def dataset_fingerprint(samples: Iterable[Sample]) -> str:
    """SHA-256 (hex) over ids, splits, labels, defect types and the bytes of images and masks.

    The order of the samples does not matter, nor does the folder the data set lies in.

    Args:
        samples: All samples a number depends on.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    with ThreadPoolExecutor(_THREADS) as pool:
        images = pool.map(lambda sample: file_hash(sample.image_path), ordered)
        masks = pool.map(lambda sample: file_hash(sample.mask_path) if sample.mask_path else "", ordered)
        digest = hashlib.sha256()
        for sample, image, mask in zip(ordered, images, masks, strict=True):
            fields = (sample.id, sample.category, sample.split, str(sample.label), sample.defect_type, image, mask)
            digest.update(("\0".join(fields) + "\n").encode())
    return digest.hexdigest()
