"""Drawing the normal reference images that few-shot methods see."""

from __future__ import annotations

from collections.abc import Iterable

from vlmad_core.datasets.sample import Sample
from vlmad_core.datasets.splits import by_hash
from vlmad_core.errors import DatasetError


def draw_references(samples: Iterable[Sample], shots: int, seed: int) -> tuple[Sample, ...]:
    """Draw reference images without replacement, the same ones on every machine.

    The images are put in the order of the SHA-256 of seed and id, and the first ``shots`` are taken. So the
    references of one shot are among those of two, and the order of files on disk does not matter. (Public
    WinCLIP and APRIL-GAN code draws with replacement, so that four shots may be three images.)

    Args:
        samples: Candidates of one category; only normal training images are drawn from, others are passed over.
        shots: How many; 0 gives none.
        seed: Which draw.

    Returns:
        The references in the order they were drawn.

    Raises:
        DatasetError: Fewer normal training images than shots, or a negative number of shots.
    """
    if shots < 0:
        raise DatasetError(f"{shots} shots asked for.", "Ask for 0 or more.")
    candidates = {sample.id: sample for sample in samples if sample.split == "train" and sample.label == 0}
    if shots > len(candidates):
        categories = ", ".join(sorted({sample.category for sample in candidates.values()})) or "this category"
        raise DatasetError(
            f"{shots} references asked for, but {categories} has {len(candidates)} normal training images.",
            f"Ask for at most {len(candidates)} shots, or add normal images to its train folder.",
        )
    return tuple(candidates[key] for key in by_hash(candidates, f"references\n{seed}")[:shots])
