"""Data sets: listing them from disk, reading their images and masks, checking them."""

from __future__ import annotations

from vlmad_core.datasets.catalogue import canonical_name
from vlmad_core.datasets.loading import DatasetEntry, list_datasets, load_dataset
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, DatasetProblem, Sample, Split

__all__ = [
    "NORMAL_TYPE",
    "Dataset",
    "DatasetEntry",
    "DatasetProblem",
    "Sample",
    "Split",
    "canonical_name",
    "list_datasets",
    "load_dataset",
]
