"""Entries on resampled test images, what any two of them are compared with over images.

A unit keeps the replicates of its metrics. One written before that gives them all the same: image metrics from its
scores, pixel metrics from its maps where those were kept and the data set is at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from vlmad_core.analysis.entries import Entry
from vlmad_core.errors import VlmadError
from vlmad_core.metrics.resampling import STORED_RESAMPLES, Replicates, mean_over_categories, mean_over_seeds
from vlmad_core.metrics.uncertainty import IMAGE_METRICS, image_replicates
from vlmad_core.store.reader import Missing, Store
from vlmad_core.store.schema import RunRecord
from vlmad_core.store.tables import Drawn

MOST_MEASURED_AGAIN = 24
"""Units whose pixel metrics are resampled from their maps for one question; each takes about half a second, once."""

Units = Mapping[int, Sequence[RunRecord]]
"""Runs of each entry that have finished a category, by the entry's place."""


def why_not_drawn(
    store: Store, entries: Mapping[int, Entry], metric: str, categories: Sequence[str], eval_size: int | None = 256
) -> dict[int, str]:
    """Which entries can't be compared over images in a metric, and why, as far as that shows without computing.

    Args:
        store: The results.
        entries: Entries by place; each has a value of the metric in all categories.
        metric: Name of the metric.
        categories: The categories.
        eval_size: Map size of pixel metrics.

    Returns:
        The reason by place; empty if all can be.
    """
    if metric in IMAGE_METRICS:
        return {}
    without: dict[int, str] = {}
    left = MOST_MEASURED_AGAIN
    for place, entry in entries.items():
        units = [(run, category) for run in entry.runs for category in categories]
        open_ones = [unit for unit in units if (metric, eval_size) not in store.replicates(unit[0].id, unit[1])]
        if not all(store.keeps_maps(run.id, category) for run, category in open_ones):
            without[place] = "It keeps neither replicates nor maps."
            continue
        left -= sum(not store.remembers(_again(run, category, eval_size)) for run, category in open_ones)
        if open_ones and left < 0:
            without[place] = "It keeps no replicates, and its maps are too many to make them anew."
    return without


def drawn_means(
    store: Store, entries: Mapping[int, Entry], metric: str, categories: Sequence[str], eval_size: int | None = 256
) -> tuple[dict[int, Replicates], dict[int, str]]:
    """Each entry's mean over categories and seeds on the same resampled images.

    Args:
        store: The results.
        entries: Entries by place, of which ``why_not_drawn`` says nothing.
        metric: Name of the metric.
        categories: The categories the mean is over.
        eval_size: Map size of pixel metrics.

    Returns:
        The means, all under one design, and why the other entries have none, by place.
    """
    size = None if metric in IMAGE_METRICS else eval_size
    own: dict[int, list[Replicates]] = {place: [] for place in entries}
    without: dict[int, str] = {}
    for category in categories:
        units = {place: entry.runs for place, entry in entries.items() if place not in without}
        found = {place: [_of_unit(store, run, category, metric, size) for run in runs] for place, runs in units.items()}
        without |= {place: one.reason for place, some in found.items() for one in some if isinstance(one, Missing)}
        drawn = {
            place: [one for one in some if isinstance(one, Replicates)]
            for place, some in found.items()
            if place not in without
        }
        designs = Counter(one.design for some in drawn.values() for one in some)
        if len(designs) > 1 and size is None:
            drawn = _on_common_images(store, {place: units[place] for place in drawn}, category, metric)
        elif len(designs) > 1:
            usual = designs.most_common(1)[0][0]
            others = [place for place, some in drawn.items() if any(one.design != usual for one in some)]
            without |= dict.fromkeys(others, f"It judged other images of {category} than most.")
        for place, some in drawn.items():
            own[place].append(mean_over_seeds(some))
    means = {
        place: mean_over_categories(some)
        for place, some in own.items()
        if place not in without and some and all(one.value is not None for one in some)
    }
    return means, without


def _again(run: RunRecord, category: str, size: int | None) -> tuple[object, ...]:
    """Under what a store remembers the replicates that were made anew from maps."""
    return "replicates from maps", run.path, category, size


def _of_unit(store: Store, run: RunRecord, category: str, metric: str, size: int | None) -> Replicates | Missing:
    """A metric of one unit on resampled images, or why there is none."""
    stored = store.replicates(run.id, category).get((metric, size))
    if stored is not None:
        return stored
    if size is None:
        key = ("replicates from scores", run.path, category)
        return store.remember(key, lambda: _from_scores(_scores(store, run.id, category)))[metric, None]
    again = store.remember(_again(run, category, size), lambda: _from_maps(store, run, category, size))
    if isinstance(again, Missing):
        return again
    return again.get((metric, size)) or Missing(f"{metric} can't be resampled.")


def _on_common_images(store: Store, units: Units, category: str, metric: str) -> dict[int, list[Replicates]]:
    """An image metric of each run, on the images that all of them have scored."""
    tables = {place: [_scores(store, run.id, category) for run in runs] for place, runs in units.items()}
    common = pd.concat([table for some in tables.values() for table in some], axis=1, join="inner").index
    return {place: [_from_scores(table.loc[common])[metric, None] for table in some] for place, some in tables.items()}


def _from_scores(table: pd.DataFrame) -> Drawn:
    ids = [str(image_id) for image_id in table.index]
    labels, scores = table["label"].to_numpy(int), table["score"].to_numpy(float)
    return {(name, None): one for name, one in image_replicates(labels, scores, STORED_RESAMPLES, ids=ids).items()}


def _scores(store: Store, run_id: str, category: str) -> pd.DataFrame:
    """Label and score of the test images that have one, by image."""
    images = store.images(run_id, category)
    kept = (images["split"] == "test") & images["score"].notna()
    columns = {name: images.loc[kept, name].to_numpy() for name in ("label", "score")}
    return pd.DataFrame(columns, index=images.loc[kept, "image_id"].to_numpy()).sort_index()


def _from_maps(store: Store, run: RunRecord, category: str, size: int) -> Drawn | Missing:
    """All pixel metrics of one unit on resampled images, from its maps and the data set's masks."""
    from vlmad_core.methods.predictions import one_map
    from vlmad_core.metrics.pixel_bootstrap import pixel_replicates

    key = ("masks", run.provenance.data.get("source"), category, size, run.units[category].data_hash)
    masks = store.remember(key, lambda: _masks(run, category, size))
    if isinstance(masks, Missing):
        return masks
    grids = store.grids(run.id, category)
    if isinstance(grids, Missing):
        return grids
    places = [place for place, image_id in enumerate(grids.image_ids) if image_id in masks]
    ids = [grids.image_ids[place] for place in places]
    truth = np.stack([np.unpackbits(masks[image_id][1]).reshape(size, size).astype(bool) for image_id in ids])
    labels = np.array([masks[image_id][0] for image_id in ids], bool)
    maps = np.stack([one_map(grids.grids[place], grids.rule, (size, size)) for place in places])
    drawn = pixel_replicates(maps, truth, labels=labels, ids=ids, resamples=STORED_RESAMPLES)
    return {(name, size): one for name, one in drawn.items()}


def _masks(run: RunRecord, category: str, size: int) -> dict[str, tuple[int, np.ndarray]] | Missing:
    """Label and packed mask of each test image that has one, by id, if these are the files that were judged."""
    from vlmad_core.datasets import load_dataset
    from vlmad_core.datasets.splits import planned_images
    from vlmad_core.engine.options import SIZES, Size
    from vlmad_core.engine.profiling import Stopwatch
    from vlmad_core.engine.reading import ImageLoader, ahead, contents_hash

    source, part = run.provenance.data.get("source"), cast(Size, run.protocol.data.get("size", "full"))
    try:
        samples = planned_images(load_dataset(source), category, SIZES[part]) if source else ()
    except (VlmadError, KeyError, TypeError):
        samples = ()
    if not samples:
        return Missing("It keeps no replicates, and its data set is not at hand to make them anew from its maps.")
    images = list(ahead(samples, ImageLoader(None, (size,), False, Stopwatch()), depth=4))
    if contents_hash(images) != run.units[category].data_hash:
        return Missing(f"It keeps no replicates, and the images of {category} at hand are not those it judged.")
    known = [(image.sample, image.masks[size]) for image in images]
    return {sample.id: (sample.label, np.packbits(mask)) for sample, mask in known if mask is not None}
