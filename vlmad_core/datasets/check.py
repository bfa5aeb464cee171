"""Is this data set what it should be, and if not, which files: unreadable, not fitting, or there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.catalogue import Counts, official_sets
from vlmad_core.datasets.images import open_checked, pixel_hash, read_image
from vlmad_core.datasets.masks import MASK_LIMITS, to_mask
from vlmad_core.datasets.sample import Dataset, DatasetProblem, Sample
from vlmad_core.errors import DatasetError

Severity = Literal["error", "difference", "note"]

_NOTES_OF_LISTING = frozenset({"not_an_image"})
"""Kinds of problems met on listing that cost nothing."""

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
class CheckReport:
    """What was found about a data set.

    Attributes:
        dataset: The data set.
        counts: Normal train, normal test and defective test images by category.
        masks: Defective images with a mask by category.
        findings: Everything found, errors first.
    """

    dataset: Dataset
    counts: Mapping[str, Counts]
    masks: Mapping[str, int]
    findings: tuple[FileFinding, ...]

    @property
    def ok(self) -> bool:
        """True if there are neither errors nor differences from the published counts."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        official = official_sets().get(self.dataset.official or "")
        return {
            "name": self.dataset.name,
            "root": str(self.dataset.root),
            "layout": self.dataset.layout,
            "official": self.dataset.official,
            "licence": self.dataset.licence,
            "synthetic": self.dataset.synthetic,
            "categories": {
                name: {
                    "train_normal": train,
                    "test_normal": normal,
                    "test_defective": defective,
                    "masks": self.masks[name],
                    "official": list(official.counts[name]) if official and name in official.counts else None,
                }
                for name, (train, normal, defective) in self.counts.items()
            },
            "problems": [
                {"kind": f.kind, "severity": f.severity, "path": str(f.path), "message": f.message}
                for f in self.findings
            ],
            "notes": list(self.dataset.notes),
            "ok": self.ok,
        }


def check_dataset(dataset: Dataset) -> CheckReport:
    """Check a data set as listed: every file, the masks, duplicates, and the published counts."""
    counts = _counts(dataset)
    masks = Counter(s.category for s in dataset.samples if s.label == 1 and s.mask_path is not None)
    listed = [
        FileFinding(p.kind, "note" if p.kind in _NOTES_OF_LISTING else "error", p.path, p.message)
        for p in dataset.problems
    ]
    pixels = [FileFinding(p.kind, "error", p.path, p.message) for p in verify_pixels(dataset)]
    findings = [
        *listed,
        *_missing_masks(dataset, masks, {p.path for p in dataset.problems if p.kind == "missing_mask"}),
        *inspect_files(dataset.samples),
        *pixels,
        *_against_official(dataset, counts),
        *_what_is_possible(dataset, counts, masks),
    ]
    order = ("error", "difference", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(dataset, counts, {name: masks[name] for name in counts}, tuple(findings))


def _counts(dataset: Dataset) -> dict[str, Counts]:
    numbers = Counter((s.category, s.split, s.label) for s in dataset.samples)
    return {
        name: (numbers[name, "train", 0], numbers[name, "test", 0], numbers[name, "test", 1])
        for name in dataset.categories
    }


def _missing_masks(dataset: Dataset, masks: Mapping[str, int], known: set[Path]) -> Iterable[FileFinding]:
    """Defective images without a mask in categories where others have one, unless already listed."""
    for s in dataset.samples:
        if s.label == 1 and s.mask_path is None and masks.get(s.category) and s.image_path not in known:
            yield FileFinding(
                "missing_mask",
                "error",
                s.image_path,
                "no mask, though others of its category have one; pixel metrics leave the image out.",
            )


def _against_official(dataset: Dataset, counts: Mapping[str, Counts]) -> Iterable[FileFinding]:
    published = official_sets().get(dataset.official or "")
    if published is None:
        return
    for name, numbers in counts.items():
        expected = published.counts.get(name)
        if expected is None and published.counts:
            yield _difference(dataset.root / name, f"{name} is no category of {published.title}.")
        elif expected is not None and numbers != expected:
            yield _difference(dataset.root / name, f"{_words(numbers)}; published {_words(expected)}.")
    missing = [name for name in published.counts if name not in counts]
    if missing:
        yield _difference(dataset.root, f"categories of {published.title} that are missing: {', '.join(missing)}.")
    if not published.counts:
        train, normal, defective = (sum(column) for column in zip(*counts.values(), strict=True))
        if published.total is not None and (train, normal, defective) != published.total:
            found = _words((train, normal, defective))
            yield _difference(dataset.root, f"{found}; published {_words(published.total)}.")
        if published.everything is not None and (train + normal, defective) != published.everything:
            expected_normal, expected_defective = published.everything
            yield _difference(
                dataset.root,
                f"{train + normal} normal and {defective} defective; published {expected_normal} normal and"
                f" {expected_defective} defective.",
            )


def _difference(path: Path, message: str) -> FileFinding:
    return FileFinding("count", "difference", path, message)


def _words(counts: Counts) -> str:
    return f"{counts[0]} train, {counts[1]} normal and {counts[2]} defective test"


def _what_is_possible(
    dataset: Dataset, counts: Mapping[str, Counts], masks: Mapping[str, int]
) -> Iterable[FileFinding]:
    for name, (train, normal, defective) in counts.items():
        path = dataset.root / name
        if defective and not masks.get(name):
            yield FileFinding(
                "no_masks",
                "note",
                path,
                f"classification works, segmentation is blank because none of its {defective} defective"
                " images has a mask.",
            )
        if not normal or not defective:
            lacking = "normal" if not normal else "defective"
            yield FileFinding(
                "one_class",
                "note",
                path,
                f"image AUROC, AP and F1-max are blank because the test split has no {lacking} image.",
            )
        if not train:
            yield FileFinding("no_train", "note", path, "no normal training images, so few-shot methods can't run.")


def verify_pixels(dataset: Dataset) -> tuple[DatasetProblem, ...]:
    """Compare decoded pixels with the hashes in the data set's ``dataset.json``.

    Args:
        dataset: A data set whose metadata states ``pixels`` (path relative to the root: hash).

    Returns:
        One problem for each image that is missing, unreadable, not listed, or differs; none for a data set
        that states no hashes.
    """
    stated = mvtec.metadata(dataset.root).get("pixels")
    if not isinstance(stated, Mapping):
        return ()
    problems = [
        DatasetProblem("pixels_unlisted", sample.image_path, "has no stated pixel hash in dataset.json.")
        for sample in dataset.samples
        if sample.id not in stated
    ]
    for relative, expected in sorted(stated.items()):
        path = dataset.root / relative
        try:
            actual = pixel_hash(read_image(path))
        except DatasetError as error:
            problems.append(DatasetProblem("unreadable_image", path, str(error)))
            continue
        if actual != expected:
            problems.append(
                DatasetProblem("pixels_differ", path, "its pixels are not those that were published; restore the file.")
            )
    return tuple(problems)


@dataclass(frozen=True)
class _Seen:
    sample: Sample
    pixels: str | None
    findings: tuple[FileFinding, ...]


def inspect_files(samples: Sequence[Sample]) -> tuple[FileFinding, ...]:
    """Decode every image and mask and compare them; one bad file costs nothing but itself.

    Args:
        samples: The samples as listed.

    Returns:
        Findings in the order of the samples, then duplicates.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(_inspect, samples))
    findings = [finding for entry in seen for finding in entry.findings]
    return (*findings, *_duplicates(seen))


def _inspect(sample: Sample) -> _Seen:
    findings: list[FileFinding] = []
    pixels: str | None = None
    size: tuple[int, int] | None = None
    try:
        image = read_image(sample.image_path)
    except DatasetError as error:
        findings.append(
            FileFinding("unreadable_image", "error", sample.image_path, _without_path(error, sample.image_path))
        )
    else:
        pixels = pixel_hash(image)
        size = (image.height, image.width)
    if sample.mask_path is not None:
        findings.extend(_inspect_mask(sample.mask_path, size))
    return _Seen(sample, pixels, tuple(findings))


def _inspect_mask(path: Path, size: tuple[int, int] | None) -> Iterable[FileFinding]:
    try:
        image = open_checked(path, MASK_LIMITS)
    except DatasetError as error:
        yield FileFinding("unreadable_mask", "error", path, _without_path(error, path))
        return
    yield from _mask_mode(path, image)
    mask = to_mask(image)
    if size is not None and mask.shape != size:
        yield FileFinding(
            "mask_size",
            "error",
            path,
            f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {size[1]} x {size[0]}; give it at the size of"
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
    return str(error).removeprefix(f"{path}: ")
