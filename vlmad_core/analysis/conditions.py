"""Which runs may be ranked together.

Runs are, if everything but the method is equal. One kind of run is a guest everywhere: a reference that knows images
only brings a network of its own, so it can't share the backbone of the methods it is a reference for. It is shown
beside every comparison on the same images, read and measured in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from vlmad_core.store.schema import Protocol, RunRecord, short_hash


def is_guest(run: RunRecord) -> bool:
    """Whether a run's backbone has no text tower."""
    return run.protocol.backbone.get("text_depth") == 0


def surroundings(protocol: Protocol) -> str:
    """Eight hex digits over all but the method, its backbone, and the map size that follows from the backbone."""
    choices = {key: value for key, value in asdict(protocol).items() if key not in ("method", "backbone")}
    evaluation = {key: value for key, value in protocol.evaluation.items() if key != "native_size"}
    return short_hash({**choices, "evaluation": evaluation})


def shown_under(runs: Iterable[RunRecord]) -> Mapping[str, tuple[str, ...]]:
    """For each run the conditions of the comparisons it belongs to, by run id.

    A guest belongs to those of its data set that agree in all but the backbone; to its own if there are none.
    """
    runs = tuple(runs)
    hosts: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        if not is_guest(run):
            key = (run.key.dataset, surroundings(run.protocol))
            hosts.setdefault(key, {})[run.protocol.conditions] = None
    found = {}
    for run in runs:
        own = (run.protocol.conditions,)
        found[run.id] = tuple(hosts.get((run.key.dataset, surroundings(run.protocol)), own)) if is_guest(run) else own
    return found


def ranked_together(first: RunRecord, second: RunRecord) -> bool:
    """Whether two runs may be ranked together."""
    if is_guest(first) or is_guest(second):
        return surroundings(first.protocol) == surroundings(second.protocol)
    return first.protocol.conditions == second.protocol.conditions
