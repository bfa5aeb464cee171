"""Which entries may be ranked together, and what differs between those that may not.

Entries may be, if everything but the method is equal. Two kinds of run are guests:

- A reference that knows images only brings a network of its own, so it can't share the backbone of the methods it is a
  reference for. It is shown beside every comparison on the same images, read and measured in the same way.
- An imported run brings a program of its own. It is shown beside every comparison of its data set, and may be ranked
  with those that were judged as it was: on the same images, split and masks, on maps of the same size, by the same
  metrics. One whose conditions were declared is shown with those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.entries import Comparison, Entry, EntryKey, in_the_running, is_imported
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import DESCRIPTIVE, Protocol, RunRecord, short_hash


@dataclass(frozen=True)
class Comparability:
    """Whether entries may be ranked together; counts as that.

    Attributes:
        reasons: Why not, each in a sentence; empty if they may.
    """

    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether they may be ranked together."""
        return not self.reasons


def comparable(entries: Sequence[Entry]) -> Comparability:
    """Whether entries may be ranked together, and why not.

    Args:
        entries: Any entries; fewer than two may always.
    """
    runs = [run for entry in entries for run in entry.runs]
    reported = sum(entry.evidence == "reported" for entry in entries)
    reasons = []
    if 0 < reported < len(entries):
        reasons.append("Reported numbers rest on other backbones, sizes and protocols than measured ones.")
    if len({run.key.dataset for run in runs}) > 1:
        sets = sorted({run.key.dataset for run in runs})
        reasons.append(f"They are of different data sets: {', '.join(sets)}.")
    elif runs:
        first = min(runs, key=_reach)
        names = dict.fromkeys(name for run in runs if run is not first for name in _different(first, run))
        if names:
            reasons.append(f"They differ in more than the method: {', '.join(names)}.")
    return Comparability(tuple(reasons))


def imported_beside(one: Comparison) -> Mapping[EntryKey, Comparability]:
    """For each imported entry of a comparison, whether it may be ranked with those that were measured.

    Empty where nothing was imported, or nothing else is there.
    """
    entries = one.entries()
    own = in_the_running(entries)
    return {entry.key: comparable([own[0], entry]) for entry in entries if entry not in own}


def comparisons(store: Store, dataset: str | None = None) -> tuple[Comparison, ...]:
    """Group a store's runs into what may be ranked together.

    Args:
        store: The results; runs without a finished unit are left out.
        dataset: Only this data set.

    Returns:
        Per data set, those with the most methods and then the most finished units first.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    chosen = [run for run in store.runs if run.units and dataset in (None, run.key.dataset)]
    places = conditions_of(chosen)
    for run in sorted(chosen, key=_reach):  # guests last: the first run speaks for its comparison
        for conditions in places[run.id]:
            groups.setdefault((run.key.dataset, conditions), []).append(run)
    found = [Comparison(name, conditions, tuple(runs)) for (name, conditions), runs in groups.items()]

    def order(one: Comparison) -> tuple[Any, ...]:
        units = sum(len(run.units) for run in one.runs)
        return one.dataset, -len(one.entries()), -units, one.conditions

    return tuple(sorted(found, key=order))


def conditions_of(runs: Iterable[RunRecord]) -> Mapping[str, tuple[str, ...]]:
    """For each run the conditions of the comparisons it belongs to, by run id.

    A vision-only guest belongs to those of its data set that agree in all but the backbone, an imported one to all of
    its data set, or to those that were declared; to its own if there are none.
    """
    runs = tuple(runs)
    hosts: dict[tuple[str, str], dict[str, None]] = {}
    measured: dict[str, dict[str, None]] = {}
    found = {}
    for run in sorted(runs, key=_reach):
        own, around = {run.protocol.conditions: None}, (run.key.dataset, surroundings(run.protocol))
        everywhere = measured.get(run.key.dataset, own)
        if is_imported(run):
            places = own if run.protocol.conditions in everywhere else everywhere
        else:
            places = hosts.get(around, own) if is_guest(run) else own
            measured.setdefault(run.key.dataset, {}).update(places)
        if _reach(run) == 0:
            hosts.setdefault(around, {}).update(own)
        found[run.id] = tuple(places)
    return found


def is_guest(run: RunRecord) -> bool:
    """Whether a run's backbone has no text tower."""
    return run.protocol.backbone.get("text_depth") == 0


def surroundings(protocol: Protocol) -> str:
    """Eight hex digits over all but the method, its backbone, and the map size that follows from the backbone."""
    choices = {key: value for key, value in protocol.moving_values().items() if key not in ("method", "backbone")}
    evaluation = {key: value for key, value in choices["evaluation"].items() if key != "native_size"}
    return short_hash({**choices, "evaluation": evaluation})


def protocol_differences(first: Protocol, second: Protocol) -> pd.DataFrame:
    """Every setting in which two protocols differ.

    Args:
        first: One protocol.
        second: The other.

    Returns:
        setting (dotted path), first, second; a setting that only one has is blank (None) in the other.
    """
    one, two = (as_texts(asdict(protocol)) for protocol in (first, second))
    rows = [
        {"setting": name, "first": one.get(name), "second": two.get(name)}
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    ]
    return pd.DataFrame(rows, columns=["setting", "first", "second"])


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings by dotted names.

    >>> list(flat({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def as_texts(value: Mapping[str, Any]) -> dict[str, str]:
    """The entries of nested mappings as texts by dotted names; the items of a list are joined.

    >>> as_texts({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': '1', 'c': '1, 2'}
    """
    return {name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for name, v in flat(value)}


def runs_table(store: Store) -> pd.DataFrame:
    """One row per run: what it is of, how far it is, and where it was computed.

    Returns:
        id, dataset, title, preset, shots, seed, backbone, mode, categories, failed, images, errors, hardware,
        finished (ISO 8601 of the last unit, None without one), conditions.
    """
    failed: dict[str, int] = {}
    for unit in store.failed:
        failed[unit.run_id] = failed.get(unit.run_id, 0) + 1
    rows = []
    for run in store.runs:
        units = run.units.values()
        rows.append(
            {
                "id": run.id,
                "dataset": run.key.dataset,
                "title": run.title,
                "preset": run.key.preset,
                "shots": run.key.shots,
                "seed": run.key.seed,
                "backbone": str(run.protocol.backbone.get("title") or run.key.backbone),
                "mode": run.mode,
                "categories": len(run.units),
                "failed": failed.get(run.id, 0),
                "images": sum(unit.images for unit in units),
                "errors": sum(unit.errors for unit in units),
                "hardware": hardware_text(run),
                "finished": max((unit.finished_at for unit in units), default=None),
                "conditions": run.protocol.conditions,
            }
        )
    columns = [
        "id", "dataset", "title", "preset", "shots", "seed", "backbone", "mode", "categories", "failed", "images",
        "errors", "hardware", "finished", "conditions",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def hardware_text(run: RunRecord) -> str:
    """The machine of a run in a few words."""
    hardware = run.provenance.hardware
    parts = [str(hardware[key]) for key in ("processor", "cpu", "model") if hardware.get(key)][:1]
    if hardware.get("cores"):
        parts.append(f"{hardware['cores']} cores")
    if hardware.get("accelerator"):
        parts.append(str(hardware["accelerator"]))
    return ", ".join(parts) or "unknown"


def _reach(run: RunRecord) -> int:
    """0 for a run that belongs to one comparison, 1 for a vision-only guest, 2 for an imported run."""
    return 2 if is_imported(run) else int(is_guest(run))


def _judged_apart(first: RunRecord, second: RunRecord) -> list[str]:
    """In what two runs were judged differently, whatever made their scores; in words."""
    one, two = first.protocol, second.protocol
    found = []
    if one.data.get("size") != two.data.get("size"):
        sizes = (str(run.protocol.data.get("size")) for run in (first, second))
        found.append(f"how many of the test images were judged ({' and '.join(sizes)})")
    elif any(one.data.get(name) != two.data.get(name) for name in ("listing", "per_label")):
        found.append("the images or how they are split")
    if one.evaluation.get("map_size") != two.evaluation.get("map_size"):
        sides = (str(run.protocol.evaluation.get("map_size")) for run in (first, second))
        found.append(f"the size of the maps ({' and '.join(sides)} pixels)")
    defined = [run.protocol.evaluation.get("metrics") or {} for run in (first, second)]
    if any(defined[0][name] != defined[1][name] for name in defined[0].keys() & defined[1].keys()):
        found.append("how metrics are defined")
    if one.reading.get("mask") != two.reading.get("mask"):
        found.append("how masks are read")
    return found


def _different(first: RunRecord, second: RunRecord) -> list[str]:
    """In what two runs differ that may not; empty if they may be ranked together."""
    if first.protocol.conditions == second.protocol.conditions:
        return []
    if is_imported(first) or is_imported(second):
        return _judged_apart(first, second)
    if (is_guest(first) or is_guest(second)) and surroundings(first.protocol) == surroundings(second.protocol):
        return []
    return _settings_apart(first, second)


def _settings_apart(first: RunRecord, second: RunRecord) -> list[str]:
    """The settings in which two runs differ, but for the method's and those that move no value."""
    settings = map(str, protocol_differences(first.protocol, second.protocol)["setting"])
    silent = {f"backbone.{name}" for name in DESCRIPTIVE}
    apart = ("method.", "evaluation.bootstrap.")
    return [name for name in settings if not name.startswith(apart) and name not in silent]
