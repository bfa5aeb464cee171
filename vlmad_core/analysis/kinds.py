"""What kind of part a category is: an object that has a shape, or a texture that has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.catalogue import official_key, official_sets
from vlmad_core.datasets.loading import BUNDLED, bundled_root
from vlmad_core.store.schema import RunRecord

KINDS: Mapping[str, str] = {"object": "Objects", "texture": "Textures"}
"""The kinds, as they are shown."""


def category_kinds(runs: Iterable[RunRecord]) -> dict[str, str]:
    """``object`` or ``texture`` for each category of some runs whose kind is known.

    What a run recorded comes first, then what is known of a published data set or of one that comes with the
    program.

    Args:
        runs: Runs of one data set.
    """
    found: dict[str, str] = {}
    for run in runs:
        stated = run.provenance.data.get("category_kinds")
        known = {**_known(run.key.dataset, str(run.provenance.data.get("official") or ""), run.categories)}
        known |= stated if isinstance(stated, Mapping) else {}
        found |= {name: kind for name, kind in known.items() if name in run.units and kind in KINDS}
    return found


def of_kind(categories: Iterable[str], kinds: Mapping[str, str], kind: str) -> tuple[str, ...]:
    """Those categories that are of a kind; none of unknown kind."""
    return tuple(name for name in categories if kinds.get(name) == kind)


@cache
def _known(dataset: str, official: str, categories: tuple[str, ...]) -> Mapping[str, str]:
    key = official_key(official or dataset, categories)
    if key is not None:
        return official_sets()[key].kinds
    if dataset not in BUNDLED:
        return {}
    listed = mvtec.metadata(bundled_root(dataset)).get("categories")
    entries = listed.items() if isinstance(listed, Mapping) else ()
    return {str(name): str(entry.get("kind")) for name, entry in entries if isinstance(entry, Mapping)}
