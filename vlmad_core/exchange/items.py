"""The items of an import: which test image a path from another program means, and what is wrong with which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from vlmad_core.datasets.images import IMAGE_SUFFIXES
from vlmad_core.datasets.sample import Sample
from vlmad_core.errors import StoreError

SHOWN = 40
"""Problems written out in a message; the rest are counted."""

LEFT_OUT_SUFFIXES = IMAGE_SUFFIXES | {".npy", ".gif", ".jfif", ".ppm", ".pgm"}
"""Endings that are left out of account, since maps are seldom stored in the format of the images."""


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """Something wrong with one item.

    Attributes:
        kind: A short stable identifier, e.g. ``unknown_image``.
        item: The file, line or image concerned.
        message: What is wrong and what to do about it.
    """

    kind: str
    item: str
    message: str

    def __str__(self) -> str:
        """As one line."""
        return f"{self.item}: {self.message}"


class ImportRefusedError(StoreError):
    """Nothing was imported, because of these problems.

    Attributes:
        problems: All of them.
    """

    def __init__(self, source: str, problems: Iterable[ImportProblem]) -> None:
        self.problems: Sequence[ImportProblem] = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:SHOWN]]
        rest = Counter(problem.kind for problem in self.problems[SHOWN:])
        if rest:
            counted = ", ".join(f"{count} x {kind}" for kind, count in rest.most_common())
            lines.append(f"  and {rest.total()} more ({counted})")
        count = len(self.problems)
        what = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(
            f"Nothing was imported from {source}: {what}.\n" + "\n".join(lines),
            "\nMend these, or leave categories out with --categories.",
        )


class SampleIndex:
    """Finds the sample of a path, whichever folders stand before it.

    A path means a sample if one of them ends in the whole of the other. A sample answers to its id and to
    ``category/test/defect/name``, the layout of MVTec's evaluation script, endings left out. Where a path may mean
    a test image or a training image, it means the test image.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_id: dict[str, Sample] = {}
        self._whole: dict[tuple[str, ...], set[str]] = {}
        self._endings: dict[tuple[str, ...], set[str]] = {}
        self._longest = 0
        for sample in samples:
            self._by_id[sample.id] = sample
            name = path_parts(sample.id)
            official = (sample.category, sample.split, sample.defect_type, name[-1])
            short = (sample.category, sample.defect_type, name[-1])
            for whole in {name, official, short}:
                self._whole.setdefault(whole, set()).add(sample.id)
                self._longest = max(self._longest, len(whole))
                for start in range(1, len(whole)):
                    self._endings.setdefault(whole[start:], set()).add(sample.id)

    def find(self, path: str, category: str | None = None) -> tuple[Sample, ...]:
        """All samples a path may mean: none, one, or several if it doesn't say enough.

        Args:
            path: With slashes or backslashes, absolute or not.
            category: Only samples of this category.
        """
        if path in self._by_id and category in (None, self._by_id[path].category):
            return (self._by_id[path],)
        parts = path_parts(path)
        found: set[str] = set()
        for length in range(min(len(parts), self._longest), 0, -1):
            found = self._whole.get(parts[-length:], set())
            if found:
                break
        found = found or self._endings.get(parts, set())
        samples = [self._by_id[image_id] for image_id in sorted(found)]
        fitting = tuple(sample for sample in samples if category in (None, sample.category))
        tested = tuple(sample for sample in fitting if sample.split == "test")
        return tested if len(tested) == 1 else fitting


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path, without drive, dots and the ending of an image.

    >>> path_parts("../data/bottle/test/good/000.png")
    ('data', 'bottle', 'test', 'good', '000')
    """
    pure = PurePosixPath(path.strip().replace("\\", "/"))
    parts = [part for part in pure.parts if part not in ("/", ".", "..") and not part.endswith(":")]
    if parts and PurePosixPath(parts[-1]).suffix.lower() in LEFT_OUT_SUFFIXES:
        parts[-1] = PurePosixPath(parts[-1]).stem
    return tuple(parts)
