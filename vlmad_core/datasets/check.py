"""Is this data set what it should be, and if not, which files: unreadable, not fitting, or there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.catalogue import Counts, official_sets
from vlmad_core.datasets.images import pixel_hash, read_image
from vlmad_core.datasets.inspecting import Content, FileFinding, Severity, inspect_files
from vlmad_core.datasets.sample import Dataset, DatasetProblem
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable

_NOTES_OF_LISTING = frozenset({"not_an_image"})
"""Kinds of problems met on listing that cost nothing."""

PLAIN: Mapping[str, str] = {
    "unreadable_image": "photo{} that can't be read",
    "missing_image": "photo{} named but not there",
    "train_in_test": "test photo{} with the pixels of one that is kept for references",
    "duplicate": "photo{} with the pixels of another one",
    "not_an_image": "file{} left out: no photo by the ending",
    "outside": "photo{} outside the folder, left out",
    "stray_image": "photo{} beside the folders, left out: good or defective?",
    "unlabelled": "photo{} without a label, left out",
    "bad_label": "label{} that can't be understood",
    "bad_labels": "table{} of labels that can't be read",
    "listed_twice": "photo{} named twice",
    "train_defects": "defective photo{} among those for training, left out",
    "missing_mask": "defective photo{} without a mask, left out of pixel metrics",
    "orphan_mask": "mask{} without a photo",
    "unreadable_mask": "mask{} that can't be read",
    "mask_size": "mask{} of another size than the photo",
    "empty_mask": "mask{} in which nothing is marked",
    "full_mask": "mask{} in which everything is marked",
    "large_mask": "mask{} in which nearly everything is marked",
    "jpeg_mask": "mask{} saved with loss",
    "mask_mode": "mask{} in colours, read as marked where not black",
    "count": "difference{} from the published counts",
}
"""Kinds of findings in plain words; ``{}`` is the plural's s."""

ENOUGH = 60
"""Test images of a class from which on nothing is said of their number: without a mistake they show 95 %."""


@dataclass(frozen=True)
class Remark:
    """Findings of one kind, in plain words.

    Attributes:
        severity: As of a finding.
        sentence: What was found, with the number.
        items: Each finding: the file, relative to the data set's root, and what to do about it.
    """

    severity: Severity
    sentence: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """What was found about a data set.

    Attributes:
        dataset: The data set.
        counts: Normal train, normal test and defective test images by category.
        masks: Defective images with a mask by category.
        sizes: Number of images by width and height in pixels.
        findings: Everything found, errors first.
    """

    dataset: Dataset
    counts: Mapping[str, Counts]
    masks: Mapping[str, int]
    sizes: Mapping[tuple[int, int], int]
    findings: tuple[FileFinding, ...]

    @property
    def ok(self) -> bool:
        """True if there are neither errors nor differences from the published counts."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def outlook(self) -> tuple[str, ...]:
        """What can be shown with so many images and what can't, in sentences; nothing where there are enough."""
        few = [
            sentence
            for name, (_, normal, defective) in self.counts.items()
            for sentence in _outlook(normal, defective, self.masks[name], f"{name}: " if len(self.counts) > 1 else "")
        ]
        if len(self.counts) == 1:
            (_, normal, defective), *_ = self.counts.values()
            few += _bounds(normal, defective)
        return tuple(few)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """The findings by kind, in plain words; errors first."""
        kinds: dict[tuple[Severity, str], list[FileFinding]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.severity, finding.kind), []).append(finding)
        return tuple(
            Remark(
                severity,
                _counted(kind, found),
                tuple(f"{_relative(one.path, self.dataset.root)}: {one.message}" for one in found),
            )
            for (severity, kind), found in kinds.items()
        )

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
                {"kind": f.kind, "severity": f.severity, "path": printable(f.path), "message": f.message}
                for f in self.findings
            ],
            "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in sorted(self.sizes.items())],
            "outlook": list(self.outlook),
            "notes": list(self.dataset.notes),
            "ok": self.ok,
        }


def sizes_in_words(sizes: Mapping[tuple[int, int], int]) -> str:
    """The sizes of a data set's images in a sentence.

    >>> sizes_in_words({(640, 480): 3}), sizes_in_words({(900, 700): 1, (640, 480): 3})
    ('All photos have 640 x 480 pixels.', 'Photos have 2 sizes, from 640 x 480 to 900 x 700 pixels.')
    """
    if not sizes:
        return "No photo can be read."
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    (width, height), (widest, highest) = ordered[0], ordered[-1]
    if len(ordered) == 1:
        return f"All photos have {width} x {height} pixels."
    return f"Photos have {len(ordered)} sizes, from {width} x {height} to {widest} x {highest} pixels."


def check_dataset(dataset: Dataset, content: Content = Path) -> CheckReport:
    """Check a data set as listed: every file, the masks, duplicates, and the published counts.

    Args:
        dataset: The data set.
        content: Where the bytes of its files are.
    """
    inspected = inspect_files(dataset.samples, content)
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
        *inspected.findings,
        *pixels,
        *_against_official(dataset, counts),
        *_what_is_possible(dataset, counts, masks),
    ]
    order = ("error", "difference", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(dataset, counts, {name: masks[name] for name in counts}, inspected.sizes, tuple(findings))


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
        path = path if path.is_dir() else dataset.root
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


def _outlook(normal: int, defective: int, masks: int, where: str) -> Iterable[str]:
    """Which metrics lack an interval that means anything, and why."""
    if 0 < min(normal, defective) < 2:
        lone = "good" if normal < 2 else "defective"
        yield (
            f"{where}only one {lone} test photo: image AUROC, AP and F1-max get no interval that means anything, since"
            " another photo may change everything."
        )
    if masks == 1:
        yield (
            f"{where}only one defective photo has a mask: pixel AUROC, AP, F1-max and AUPRO get no interval that means"
            " anything."
        )


def _bounds(normal: int, defective: int) -> Iterable[str]:
    """What a method without a mistake on so few test images is shown to do; exact binomial, 95 % confidence."""
    if 0 < defective < ENOUGH:
        yield (
            f"With {_photos(defective, 'defective test')}, finding all of them shows that at least"
            f" {_shown(defective):.0%} of such defects are found (95 % confidence); with {ENOUGH} it would be"
            f" {_shown(ENOUGH):.0%}."
        )
    if 0 < normal < ENOUGH:
        yield (
            f"With {_photos(normal, 'good test')}, no false alarm on any of them shows that at most"
            f" {1 - _shown(normal):.0%} of good parts are false alarms (95 % confidence); with {ENOUGH} it would be"
            f" {1 - _shown(ENOUGH):.0%}."
        )


def _counted(kind: str, found: list[FileFinding]) -> str:
    """How many there are of a kind, or what is said of the first where the kind has no words of its own."""
    if kind not in PLAIN:
        return found[0].message[0].upper() + found[0].message[1:]
    return f"{len(found)} {PLAIN[kind].format('' if len(found) == 1 else 's')}."


def _relative(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)


def _photos(count: int, kind: str) -> str:
    return f"{count} {kind} photo{'' if count == 1 else 's'}"


def _shown(count: int) -> float:
    """The share that so many successes without a failure show at least."""
    return 0.05 ** (1 / count)


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
