"""Listing data sets that are folders of categories, each with train, test and ground truth folders.

MVTec AD, MPDD, BTAD and the PyTorch conversion of VisA differ only in what they call their folders; this is
what they share. Nothing is decoded here: a file that is there and not empty is listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.datasets.images import IMAGE_SUFFIXES
from vlmad_core.datasets.sample import NORMAL_TYPE, DatasetProblem, Sample, Split

NORMAL_FOLDERS = ("good", "ok")
"""Names (lower case) of folders of normal images."""


@dataclass
class Listing:
    """Samples and problems as they are gathered.

    Attributes:
        dataset: Name of the data set.
        root: The folder sample ids are relative to.
    """

    dataset: str
    root: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)

    def add(self, image: Path, *, category: str, split: Split, defect_type: str, mask: Path | None = None) -> None:
        """List an image; an absent or empty one, or a second one of the same path, becomes a problem.

        Args:
            image: The file.
            category: Its category.
            split: Its split.
            defect_type: ``good`` makes it normal, anything else anomalous.
            mask: Its mask, where there is one.
        """
        inside = Path(os.path.normpath(image))
        if not inside.is_relative_to(self.root):
            self.problem("outside", image, f"lies outside {self.root}; move it there.")
            return
        if not image.is_file():
            self.problem("missing_image", image, "the image is listed but not there; restore it.")
            return
        if image.stat().st_size == 0:
            self.problem("unreadable_image", image, "the file is empty (0 bytes); copy it again.")
            return
        normal = defect_type == NORMAL_TYPE
        self.samples.append(
            Sample(
                id=inside.relative_to(self.root).as_posix(),
                dataset=self.dataset,
                category=category,
                split=split,
                image_path=image,
                mask_path=None if normal else mask,
                label=0 if normal else 1,
                defect_type=defect_type,
            )
        )

    def problem(self, kind: str, path: Path, message: str) -> None:
        """Note what is wrong with one item."""
        self.problems.append(DatasetProblem(kind, path, message))

    def sorted_samples(self) -> tuple[Sample, ...]:
        """The samples by id; of two with the same id the first is kept and the other becomes a problem."""
        unique: dict[str, Sample] = {}
        for sample in self.samples:
            if sample.id in unique:
                self.problem("listed_twice", sample.image_path, "listed more than once; the first is kept.")
            else:
                unique[sample.id] = sample
        return tuple(unique[key] for key in sorted(unique))


def subfolders(folder: Path) -> tuple[Path, ...]:
    """Visible folders in a folder, sorted by name; none if it isn't there or may not be read."""
    try:
        return tuple(sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))))
    except OSError:
        return ()


def image_files(folder: Path, problems: list[DatasetProblem] | None = None) -> tuple[Path, ...]:
    """Image files in a folder by their ending, sorted by name.

    Args:
        folder: Need not exist.
        problems: Receives one entry for each file that is no image by its ending.
    """
    try:
        files = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir())
    except OSError:
        return ()
    images = []
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        elif problems is not None and path.name.lower() not in ("thumbs.db", "desktop.ini"):
            problems.append(
                DatasetProblem("not_an_image", path, "no image by its ending, left out; move it elsewhere.")
            )
    return tuple(images)


def is_category_folder(folder: Path) -> bool:
    """True for a folder with ``test`` and ``train`` (or ``ground_truth``) of folders of images."""
    return (folder / "test").is_dir() and ((folder / "train").is_dir() or (folder / "ground_truth").is_dir())


def category_folders(root: Path) -> tuple[Path, ...]:
    """The categories in a folder of categories, or the folder itself if it is a category."""
    if is_category_folder(root):
        return (root,)
    return tuple(folder for folder in subfolders(root) if is_category_folder(folder))


def read_categories(listing: Listing, folders: Iterable[Path], normal_folders: Sequence[str] = NORMAL_FOLDERS) -> None:
    """List categories in MVTec-like layout into a listing.

    Args:
        listing: Where to list them.
        folders: One folder for each category.
        normal_folders: Names (lower case) of folders of normal images.
    """
    for folder in folders:
        _read_train(listing, folder, normal_folders)
        _read_test(listing, folder, normal_folders)


def _read_train(listing: Listing, folder: Path, normal_folders: Sequence[str]) -> None:
    for kind in subfolders(folder / "train"):
        if kind.name.lower() not in normal_folders:
            listing.problem("train_defects", kind, "training uses normal images only; this folder is left out.")
            continue
        for image in image_files(kind, listing.problems):
            listing.add(image, category=folder.name, split="train", defect_type=NORMAL_TYPE)
    _stray_images(listing, folder / "train")


def _read_test(listing: Listing, folder: Path, normal_folders: Sequence[str]) -> None:
    truth = folder / "ground_truth"
    for kind in subfolders(folder / "test"):
        normal = kind.name.lower() in normal_folders
        masks = {} if normal else _masks(truth / kind.name)
        used: set[Path] = set()
        for image in image_files(kind, listing.problems):
            mask = next((masks[key] for key in (f"{image.stem}_mask", image.stem) if key in masks), None)
            if mask is not None:
                used.add(mask)
            elif masks:
                listing.problem(
                    "missing_mask",
                    image,
                    f"no mask {truth / kind.name / image.stem}_mask.png, though others of its kind have one;"
                    " pixel metrics leave the image out.",
                )
            listing.add(
                image,
                category=folder.name,
                split="test",
                defect_type=NORMAL_TYPE if normal else kind.name,
                mask=mask,
            )
        for mask in sorted(set(masks.values()) - used):
            listing.problem("orphan_mask", mask, f"no image of that name in {kind}.")
    _stray_images(listing, folder / "test")


def _masks(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in image_files(folder)}


def _stray_images(listing: Listing, folder: Path) -> None:
    for image in image_files(folder):
        listing.problem("stray_image", image, "lies beside the folders of defect types, not in one; move it there.")
