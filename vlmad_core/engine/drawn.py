"""Which normal images a stored run was given as references: drawn again, by the rule the run drew them with."""

from __future__ import annotations

from collections.abc import Sequence

from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.sample import Sample
from vlmad_core.datasets.splits import draw_references
from vlmad_core.errors import DatasetError
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord


def references_of(run: RunRecord, category: str, samples: Sequence[Sample]) -> tuple[Sample, ...] | Missing:
    """The references of a run's category, or why they can't be named.

    A draw depends on the ids of the training images and the seed only. So it can be repeated wherever the same
    list of images is at hand, and nowhere else.

    Args:
        run: The run.
        category: The category.
        samples: All samples of the data set, as it lies on this machine; empty if it does not.
    """
    if run.key.shots == 0:
        return Missing("A run without references draws none.")
    if not samples:
        return Missing("The data set is not on this machine, so its references can't be shown.")
    stated = run.protocol.data.get("listing")
    if listing_hash(samples) != stated:
        return Missing("The data set on this machine lists other images than the run had; its draw can't be repeated.")
    try:
        own = [sample for sample in samples if sample.category == category]
        return draw_references(own, run.key.shots, run.key.seed)
    except DatasetError as error:
        return Missing(str(error))
