"""What a run kept of its images, and whether the rest can be computed again at once; told without computing it."""

from __future__ import annotations

import pandas as pd

from vlmad_core.analysis.entries import is_imported
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord

MOST_NORMALS = 8
"""Normal images whose maps make the colour scale of a map that is computed again: 32,768 pixels of maps 64 x 64."""

LONGEST = 20.0
"""Seconds that computing again may take by the run's own times; what takes longer is left to a command."""


def makes_maps(store: Store, run_id: str, category: str) -> bool:
    """Whether a run's method makes anomaly maps, kept or not: whether it kept any, or has a value of a pixel metric.

    Args:
        store: The results.
        run_id: The run.
        category: The category; one without masks has no pixel metrics, and then the reason says why.
    """
    if store.keeps_maps(run_id, category):
        return True
    frame = store.metrics([run_id])
    frame = frame[(frame["category"] == category) & (frame["level"] == "pixel")]
    without = frame["reason"].astype("str").str.contains("no anomaly map")
    return not without.any()


def why_not_again(run: RunRecord, category: str, *, at_hand: bool) -> str | None:
    """Why the maps and reasons of single images are not computed again; None if that may be tried.

    Args:
        run: The run.
        category: The category.
        at_hand: Whether its images lie on this machine.

    Returns:
        A sentence.
    """
    unit = run.units.get(category)
    if is_imported(run):
        return "Another program made these scores, and it alone can make the map."
    if unit is None:
        return "This category is not finished."
    if not at_hand:
        return "Not kept with the run, and the images are not on this machine."
    if run.protocol.method.get("transductive"):
        return (
            f"Not kept with the run. It judges all {unit.images} test images together, so that a map of one takes as "
            "long as the whole category."
        )
    seconds = expected_seconds(run, category)
    if seconds > LONGEST:
        return f"Not kept with the run. Computing it here would take about {seconds:.0f} seconds."
    return None


def expected_seconds(run: RunRecord, category: str) -> float:
    """How long the first map of a category takes to be computed again, by the run's own times; 0 where none are known.

    Args:
        run: The run.
        category: The category.
    """
    unit = run.units.get(category)
    latency = (unit.profile.get("latency_ms") if unit else None) or {}
    return float(latency.get("median") or 0.0) / 1000 * (1 + MOST_NORMALS + run.key.shots)


def scale_images(images: pd.DataFrame) -> tuple[str, ...]:
    """The normal test images that a computed map's colours are compared with, evenly picked in the order of their ids.

    Args:
        images: As ``Store.images`` gives them.
    """
    kept = images[(images["label"] == 0) & (images["split"] == "test") & images["score"].notna()]
    ids = sorted(kept["image_id"])
    count = min(MOST_NORMALS, len(ids))
    return tuple(ids[k * len(ids) // count] for k in range(count))
