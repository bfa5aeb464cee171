"""What a stored run did not keep of an image, computed again under the run's own protocol: its map and its reasons.

The code is that of a benchmark, from the draw of references to the scores, and the protocol is held against the
stored one before anything is computed. What comes out is what the run would have kept, or a reason why it can't be had.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmad_core import paths
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureMemory
from vlmad_core.backbones.hub import cached_model
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.backbones.settling import SCORE_TOLERANCE, Settled, settle
from vlmad_core.backbones.text import TextCache
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.views import View
from vlmad_core.engine.evaluation import explain_rows
from vlmad_core.engine.extraction import RunScores, score_category
from vlmad_core.engine.jobs import MOST_STRINGS
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.protocol import backbone_record, method_record, reading_record
from vlmad_core.engine.reading import ImageLoader
from vlmad_core.errors import BackboneError, DatasetError, MethodError, VlmadError
from vlmad_core.methods.registry import method_class
from vlmad_core.methods.trained import find_parameters_hashed
from vlmad_core.store import tables
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import DESCRIPTIVE, RunRecord
from vlmad_core.store.tables import Grids

TOLERANCE = 1e-3
"""How far a score may be from the stored one, absolutely or as a share of it: what other processors, batches and
threads move in float32 under a sharp softmax. Beyond it image, weights or program are not those of the run. In a
coarser precision each side may be as far from float32 as that may be."""


@dataclass(frozen=True)
class Again:
    """What a run says of some images when it is asked again.

    Attributes:
        grids: Their native grids; None if the method makes no map.
        reasons: As ``Store.explain`` gives them.
    """

    grids: Grids | None
    reasons: pd.DataFrame


@dataclass(frozen=True)
class Recall:
    """A loaded backbone with what it was given last, for runs that are asked again; shared by all visitors.

    Attributes:
        backbone: Remembers references and the images and prompts that were asked for last.
    """

    backbone: CachingBackbone


def load_again(stated: Mapping[str, Any]) -> Recall:
    """Load the backbone of a run, to ask it about single images.

    Args:
        stated: What its protocol says of the backbone.

    Raises:
        BackboneError: If it is not on this machine.
        MethodError: If what is here under its name is another one.
    """
    backbone = settle_again(stated, "auto").backbone
    hold_against("backbone", backbone_record(backbone.info), stated, DESCRIPTIVE)
    return Recall(CachingBackbone(backbone, FeatureMemory(), TextCache(MOST_STRINGS)))


def settle_again(stated: Mapping[str, Any], device: str) -> Settled:
    """The backbone that goes by a run's name here, in the run's precision; not held against the run's yet.

    Args:
        stated: What the run's protocol says of the backbone.
        device: Where it is to compute; ``auto`` for what is quickest here.

    Raises:
        BackboneError: If it is not on this machine.
    """
    title = str(stated.get("title") or stated.get("id"))
    name = _name_of(stated)
    if name is None:
        raise BackboneError(f"{title} is not on this machine.", f"Name its folder: {paths.BACKBONE}=FOLDER.")
    spec = BackboneSpec(
        name,
        stated["image_size"],
        stated["activation"],
        position_rule=stated["position_rule"],
        precision=stated["precision"],
        device=device,
    )
    return settle(spec)


def plan_again(run: RunRecord, dataset: Dataset, recall: Recall, folders: Sequence[Path] | None = None) -> PlannedRun:
    """A stored run, ready to be asked again.

    Args:
        run: The run.
        dataset: Its data set, as it lies on this machine.
        recall: Its backbone.
        folders: Where trained parameters are looked for; ``paths.parameter_folders()`` if None.

    Raises:
        VlmadError: If data, parameters, settings, prompts or rules of reading are not those of the run.
    """
    stated = run.protocol
    if listing_hash(dataset.samples) != stated.data.get("listing"):
        raise DatasetError(f"{dataset.name} lists other images here than the run had.", "Restore its folder.")
    hold_against("rules of reading", reading_record(View.from_json(stated.reading.get("view"))), stated.reading)
    cls = method_class(run.key.method)
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stated.method["settings"].items()
    }
    try:
        method = cls(cls.settings_type(**settings), preset=run.key.preset)
    except TypeError as error:  # a setting that this version of the program does not know
        raise MethodError(f"{run.title} has other settings here: {error}.", "Compute the run anew.") from error
    digest = stated.method.get("parameters")
    parameters = None
    if digest is not None:
        parameters = find_parameters_hashed(str(digest), run.key.method, recall.backbone.info, folders)
        if parameters is None:
            raise MethodError(f"The trained parameters of {run.title} are not on this machine.", "Restore their file.")
    hold_against("method", method_record(method, run.key.shots, digest), stated.method)
    record = dataclasses.replace(run, plan={**run.plan, "grids": "all"})
    return PlannedRun(record, method, dataset, recall.backbone, parameters)


def ask_again(
    runs: Sequence[PlannedRun],
    recall: Recall,
    category: str,
    stored: Mapping[str, Mapping[str, float]],
) -> tuple[dict[str, Again | Missing], float]:
    """Ask runs of one data set again about images of a category; all share one pass of the backbone.

    Args:
        runs: As ``plan_again`` gives them, of this backbone; none that judges all images of a set together.
        recall: The backbone.
        category: The category.
        stored: By run id, the stored scores of the images that are asked about, by image; the same images for all.

    Returns:
        By run id, what it says or why it can't; and the seconds all took together.
    """
    if not runs:
        return {}, 0.0
    wanted = next(iter(stored.values()))
    samples = [sample for sample in runs[0].dataset.select(category, "test") if sample.id in wanted]
    start = time.perf_counter()
    loader = ImageLoader(recall.backbone, (), False, Stopwatch(), view=runs[0].view)
    try:
        scored = score_category(category, samples, runs, loader, int(runs[0].record.plan["batch_size"]))
    except VlmadError as error:
        return {run.record.id: Missing(str(error)) for run in runs}, time.perf_counter() - start
    seconds = time.perf_counter() - start
    return {name: _answer(scores, stored[name]) for name, scores in scored.runs.items()}, seconds


def hold_against(
    what: str, here: Mapping[str, Any], stated: Mapping[str, Any], but: frozenset[str] = frozenset()
) -> None:
    """See that a part of a protocol is what it would be here and now.

    Args:
        what: The part, as errors name it.
        here: What it is here.
        stated: What the run says.
        but: Entries that may differ.

    Raises:
        MethodError: Naming the first entry that differs.
    """
    for name in sorted({*here, *stated} - but):
        if here.get(name) != stated.get(name):
            raise MethodError(
                f"The {what} is another here than in the run: {name} is {here.get(name)!r}, not {stated.get(name)!r}.",
                "Use the version of program and weights that the run names.",
            )


def tolerance_of(run: RunRecord) -> float:
    """How far a score of a run may be from the stored one, absolutely or as a share of it."""
    return TOLERANCE if run.protocol.backbone.get("precision") == "float32" else 2 * SCORE_TOLERANCE


def _answer(scores: RunScores, stored: Mapping[str, float]) -> Again | Missing:
    """What a run says, if it is what it said before."""
    if scores.failure is not None:
        return Missing(scores.failure.reason)
    tolerance = tolerance_of(scores.run.record)
    for image_id, before in stored.items():
        now = scores.scores.get(image_id)
        if now is None:
            return Missing(f"{image_id} can't be read.")
        if not math.isclose(now, before, rel_tol=tolerance, abs_tol=tolerance):
            return Missing(
                f"Asked again it gives {image_id} the score {now:.4g}, not {before:.4g}: the image, or what computes, "
                "has changed since the run."
            )
    grids = scores.all_grids()
    kept = None if grids is None or scores.rule is None else Grids(tuple(scores.scores), grids, scores.rule)
    return Again(kept, pd.DataFrame(explain_rows(scores), columns=tables.EXPLAIN.names))


def _name_of(stated: Mapping[str, Any]) -> str | None:
    """Under which name a backbone can be loaded here without fetching anything; None if it is not at hand."""
    identifier, source = str(stated.get("id")), stated.get("source")
    named = paths.named_backbone()
    if source in ("bundled", "package") or (source == "hub" and cached_model(identifier) is not None):
        return identifier
    return named if named is not None and Path(named).is_dir() and Path(named).name == identifier else None
