"""Splitting normal images into train and test for data sets whose authors published no such split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HELD_OUT = 0.2
"""Share of the normal images (or items) that goes to the test split."""


def by_hash(keys: Iterable[str], salt: str) -> list[str]:
    """Keys in an order that depends only on the keys and the salt: by SHA-256 of both."""
    return sorted(set(keys), key=lambda key: hashlib.sha256(f"{salt}\n{key}".encode()).digest())


def held_out(keys: Iterable[str], salt: str) -> frozenset[str]:
    """The fifth of the keys (rounded, at least one of two) that belongs to the test split.

    The choice depends on nothing but the keys, so it is the same on every machine; adding files changes it.

    Args:
        keys: What is split, e.g. file names or items.
        salt: Name of the data set, so that data sets are split independently.
    """
    order = by_hash(keys, salt)
    if len(order) < 2:
        return frozenset()
    return frozenset(order[: max(1, round(len(order) * HELD_OUT))])
