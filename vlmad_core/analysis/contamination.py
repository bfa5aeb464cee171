"""Whether a number was measured on data that the model had seen: clean, contaminated or unknown.

"Zero-shot" means little if the weights were trained on the test images. Both what the backbone and what the
method's own parameters were trained on count; what is not recorded is unknown, and unknown is not clean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_core.datasets.catalogue import canonical_name
from vlmad_core.store.schema import RunRecord

Verdict = Literal["clean", "contaminated", "unknown"]

SEEN: Mapping[str, str] = {"clean": "no", "contaminated": "yes", "unknown": "not recorded"}
"""The verdicts as an answer to: was this data set seen in training?"""

_WORST = ("contaminated", "unknown", "clean")


@dataclass(frozen=True)
class Contamination:
    """A verdict with its reason in words.

    Attributes:
        verdict: ``clean``, ``contaminated`` or ``unknown``.
        reason: What it follows from.
    """

    verdict: Verdict
    reason: str


def judge_contamination(
    evaluated: Collection[str],
    backbone_data: Collection[str] | None,
    method_data: Collection[str] | None = (),
) -> Contamination:
    """Compare training data with the data set evaluated.

    Args:
        evaluated: Names of the data set evaluated (its own and its official one).
        backbone_data: Data sets the backbone was trained on; None if not recorded.
        method_data: Data sets the method's parameters were trained on; empty if it trains nothing, None if not
            recorded.

    >>> judge_contamination(["mvtec_ad"], [], ["MVTec-AD"]).verdict
    'contaminated'
    >>> judge_contamination(["visa"], None, ["mvtec_ad"]).verdict
    'unknown'
    >>> judge_contamination(["visa"], [], ["mvtec_ad"]).verdict
    'clean'
    """
    names = {canonical_name(name) for name in evaluated}
    parts = (("the backbone", backbone_data), ("the method's parameters", method_data))
    for what, data in parts:
        if data is not None and names & {canonical_name(name) for name in data}:
            return Contamination("contaminated", f"Of {what}, training data is recorded to include this data set.")
    unknown = [what for what, data in parts if data is None]
    if unknown:
        return Contamination("unknown", f"What {' and '.join(unknown)} saw in training is not recorded.")
    return Contamination("clean", "This data set is not among the recorded training data.")


def run_contamination(run: RunRecord) -> Contamination:
    """The verdict for a stored run, from its protocol and provenance."""
    data = run.provenance.data
    evaluated = [name for name in (run.key.dataset, data.get("official")) if name]
    trained = data.get("trained") or {}
    return judge_contamination(
        evaluated,
        run.protocol.backbone.get("training_data"),
        trained.get("training_data") if trained else (),
    )


def worst_contamination(runs: Iterable[RunRecord]) -> Contamination:
    """The worst verdict of several runs, such as the seeds of one entry."""
    return min(map(run_contamination, runs), key=lambda one: _WORST.index(one.verdict))


def training_data(run: RunRecord) -> tuple[str, ...]:
    """Data sets that a run's own parameters were trained on, sorted; empty if none are recorded."""
    trained: Any = run.provenance.data.get("trained")
    listed = trained.get("training_data") if isinstance(trained, Mapping) else None
    return tuple(sorted(str(name) for name in listed or ()))
