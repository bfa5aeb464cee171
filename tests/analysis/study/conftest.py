"""Made-up results whose truth is known, without a store on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vlmad_core.analysis.entries import Comparison
from vlmad_core.metrics.resampling import Replicates
from vlmad_core.store.schema import Protocol, Provenance, RunKey, RunRecord, UnitRecord
from vlmad_core.store.tables import Drawn

CATEGORIES = ("bolt", "felt", "gear", "tile", "wire", "wood")
METRICS = ("image_auroc", "pixel_auroc")


@dataclass(frozen=True)
class MadeUp:
    """One competitor: its accuracy by metric, and what it takes.

    Attributes:
        method: Its name.
        mean: Mean over categories, in both metrics.
        preset: Its preset.
        shots: References.
        seeds: Draws of them.
        latency: Milliseconds per image, or None.
        trained: What its parameters were trained on.
        machine: Where it was measured.
    """

    method: str
    mean: float
    preset: str = "canonical"
    shots: int = 0
    seeds: int = 1
    latency: float | None = 10.0
    trained: tuple[str, ...] = ()
    machine: str = "m"


class FakeStore:
    """What answers and advice ask of a store; image metrics keep their replicates, pixel metrics if told."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.pixels_of = ""  # part of the ids of runs whose pixel metrics keep replicates
        known = frame[frame["metric"] == "image_auroc"]
        self.values = dict(zip(zip(known["run_id"], known["category"], strict=True), known["value"], strict=True))

    def metrics(self, run_ids: Any = None) -> pd.DataFrame:
        """Metrics of those runs."""
        return self.frame[self.frame["run_id"].isin(list(run_ids))]

    def replicates(self, run_id: str, category: str) -> Drawn:
        """A unit's metrics on 200 resampled test sets; what is drawn moves all runs alike."""
        value = float(self.values[run_id, category])
        shared = np.random.default_rng(CATEGORIES.index(category)).normal(0, 0.05, 200)
        own = np.random.default_rng([len(run_id), CATEGORIES.index(category)]).normal(0, 0.004, 200)
        kept: dict[str, int | None] = {"image_auroc": None}
        if self.pixels_of and self.pixels_of in run_id:
            kept["pixel_auroc"] = 256
        return {(m, size): Replicates(m, value, value + shared + own, 60, 30, category) for m, size in kept.items()}

    def keeps_maps(self, run_id: str, category: str) -> bool:
        """None were kept."""
        return False


Results = Callable[[Sequence[MadeUp]], tuple[Any, Comparison]]


@pytest.fixture
def made_up() -> type[MadeUp]:
    """A competitor of the made-up results."""
    return MadeUp


@pytest.fixture
def results() -> Results:
    """A function that makes a store and a comparison of competitors, all on the data set ``parts``."""
    return make_results


def make_results(competitors: Sequence[MadeUp]) -> tuple[Any, Comparison]:
    """A store and a comparison; categories share their difficulty, so that differences are clear."""
    runs, rows = [], []
    for one in competitors:
        for seed in range(one.seeds):
            run = _run(one, seed)
            runs.append(run)
            chance = np.random.default_rng([len(one.method + one.preset), one.shots, seed])
            rows += [
                {
                    "run_id": run.id,
                    "category": category,
                    "metric": metric,
                    "eval_size": pd.NA if metric.startswith("image") else 256,
                    "value": one.mean + 0.02 * (place - 2.5) + chance.normal(0, 0.004),
                    "low": 0.0,
                    "high": 1.0,
                    "n": 60,
                    "reason": None,
                }
                for place, category in enumerate(CATEGORIES)
                for metric in METRICS
            ]
    frame = pd.DataFrame(rows).astype({"eval_size": "Int64"})
    return FakeStore(frame), Comparison("parts", "00000000", tuple(runs))


def _run(one: MadeUp, seed: int) -> RunRecord:
    identifier = f"parts/{one.method}-{one.preset}-{one.shots}shot-seed{seed}-{'+'.join(one.trained)}"
    backbone: Mapping[str, Any] = {"id": "made_up", "precision": "float32", "training_data": []}
    method = {"name": one.method, "preset": one.preset, "parameters": "+".join(one.trained)}
    profile = {} if one.latency is None else {"latency_alone_ms": {"median": one.latency, "p95": one.latency}}
    units = {
        category: UnitRecord(
            run_id=identifier, category=category, status="complete", images=60, errors=0, data_hash="0",
            profile=profile, thresholds={}, files={}, thumbnails=None, thumbnails_reason=None, finished_at="",
        )
        for category in CATEGORIES
    }  # fmt: skip
    return RunRecord(
        identifier,
        RunKey("parts", one.method, one.preset, one.shots, seed, "made_up"),
        f"{one.method}{'+' if one.shots else ''}",
        Protocol("matched", backbone, method, {"dataset": "parts"}, {}, {}),
        Provenance(
            code_version="0", packages={}, hardware={"id": one.machine}, parameters=1,
            data={
                "trained": {"training_data": list(one.trained)} if one.trained else {},
                "category_kinds": {"bolt": "object", "gear": "object", "felt": "texture", "wood": "texture"},
            },
            command="", started_at="",
        ),
        {},
        Path(),
        units,
    )  # fmt: skip
