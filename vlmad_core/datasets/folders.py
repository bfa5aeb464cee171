"""What the readers of all layouts share: what a reader is, the listing it fills, and looking into folders.

Nothing is decoded here: a file that is there and not empty is listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmad_core.datasets.images import IMAGE_SUFFIXES
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, DatasetProblem, Sample, Split
from vlmad_core.reading import printable


@dataclass(frozen=True)
class LayoutReader:
    """One layout.

    Attributes:
        layout: Its name.
        expected: What it looks like on disk, for messages.
        recognises: Whether a path looks like it; cheap, decodes nothing.
        read: Lists the data set at a path under a name; bad items become problems.
    """

    layout: str
    expected: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str], Dataset]


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
        """List an image; one that is absent, empty or defective though for training becomes a problem.

        So does a mask that is not there, which costs the mask only, and (on :meth:`sorted_samples`) a second image of
        the same path.

        Args:
            image: The file.
            category: Its category.
            split: Its split.
            defect_type: ``good`` makes it normal, anything else anomalous.
            mask: Its mask, where there is one.
        """
        normal = defect_type == NORMAL_TYPE
        if split == "train" and not normal:
            self.problem("train_defects", image, "training uses normal images only; left out.")
            return
        category, defect_type = printable(category), printable(defect_type)
        if mask is not None and not is_there(mask):
            self.problem("missing_mask", image, f"its mask {mask} is not there; pixel metrics leave it out.")
            mask = None
        inside = Path(os.path.normpath(image))
        if not inside.is_relative_to(self.root):
            self.problem("outside", image, f"lies outside {self.root}; move it there.")
            return
        if not is_there(image):
            self.problem("missing_image", image, "the image is listed, but there is no file of that name; restore it.")
            return
        if image.stat().st_size == 0:
            self.problem("unreadable_image", image, "the file is empty (0 bytes); copy it again.")
            return
        self.samples.append(
            Sample(
                id=printable(inside.relative_to(self.root).as_posix()),
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
        self.problems.append(DatasetProblem(kind, path, printable(message)))

    def sorted_samples(self) -> tuple[Sample, ...]:
        """The samples by id; of two with the same id the first is kept and the other becomes a problem."""
        unique: dict[str, Sample] = {}
        for sample in self.samples:
            if sample.id in unique:
                self.problem("listed_twice", sample.image_path, "listed more than once; the first is kept.")
            else:
                unique[sample.id] = sample
        return tuple(unique[key] for key in sorted(unique))

    def as_dataset(self, layout: str, **facts: Any) -> Dataset:
        """The data set that was listed.

        Args:
            layout: Name of its layout.
            **facts: What is known of it besides, as attributes of :class:`Dataset`.
        """
        samples = self.sorted_samples()  # before the problems, to which it may add
        return Dataset(self.dataset, self.root, layout, samples, tuple(self.problems), **facts)


def is_there(path: Path, *, folder: bool = False) -> bool:
    """Whether a path, which may be any text of a table, leads to a regular file, or to a folder."""
    try:
        return path.is_dir() if folder else path.is_file()
    except OSError:  # as for a name that is too long
        return False


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
