"""Which data a result rests on: the one fingerprint that every run has, and how it is made.

Results under one name rest on different splits and files in this field, so a run says which it had. Its fingerprint
has two parts, because they are known at different times:

- the **listing**: which images there are, with category, split and label, and which of them have a mask; not what is
  in them. It is known before anything is read, moves numbers (references are drawn from it), and so is part of the
  protocol (``protocol.data.listing``): runs on other splits are never ranked together.
- the **files**: the bytes of the images and masks that were judged, category by category. A category's hash is
  known once it was read and stands in its ``unit.json`` (``data_hash``).

``provenance.data.fingerprint`` in ``run.json`` has the listing with the number of images of each kind;
``RunRecord.fingerprint`` joins it with the files of the units that are finished. That is what pages, reports and the
command ``results`` show. Neither part depends on the folder the data lies in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.datasets.sample import Sample
from vlmad_core.reading import open_regular

UNREADABLE = "unreadable"
"""What stands for the hash of a file that can't be read."""


@dataclass(frozen=True)
class Fingerprint:
    """Which data a run rests on; see the module.

    Attributes:
        listing: Sixteen hex digits, as ``listing_hash`` gives them; empty where a run does not say.
        files: By finished category: sixteen hex digits, as ``files_hash`` gives them.
    """

    listing: str
    files: Mapping[str, str]

    def __str__(self) -> str:
        """Listing and files in one word: equal for runs with the same finished categories on the same data."""
        return f"{self.listing or 'unknown'}-{_short(repr(sorted(self.files.items()))) if self.files else 'none'}"

    def differences(self, other: Fingerprint) -> tuple[str, ...]:
        """What differs in the data of two runs, in sentences; categories that only one has finished are passed over."""
        both = sorted(self.files.keys() & other.files.keys())
        changed = [name for name in both if self.files[name] != other.files[name]]
        said = ["They list other images, splits or labels."] if self.listing != other.listing else []
        return (*said, *(f"The files of {name} differ." for name in changed))


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, or ``unreadable`` where it can't be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def content_hashes(sample: Sample) -> tuple[str, str]:
    """Hash of an image's file, and that of image and mask together."""
    image = file_hash(sample.image_path)
    mask = file_hash(sample.mask_path) if sample.mask_path else ""
    return image, f"{image}:{mask}"


def files_hash(contents: Iterable[tuple[str, str]]) -> str:
    """Sixteen hex digits over ids with their content, as ``content_hashes`` gives it; the order does not matter."""
    return _short("\n".join(sorted(f"{sample_id}\0{content}" for sample_id, content in contents)))


def listing_hash(samples: Iterable[Sample]) -> str:
    """Sixteen hex digits over which images there are and what is said of them, not over their content."""
    lines = [f"{s.id}\0{s.category}\0{s.split}\0{s.label}\0{s.mask_path is not None}" for s in samples]
    return _short("\n".join(sorted(lines)))


def listing_record(samples: Sequence[Sample]) -> dict[str, Any]:
    """What provenance says of a listing: its hash, and how many images of each kind there are."""
    test = [sample.label for sample in samples if sample.split == "test"]
    return {
        "listing": listing_hash(samples),
        "train": sum(sample.split == "train" for sample in samples),
        "test_normal": test.count(0),
        "test_anomalous": len(test) - test.count(0),
    }


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
