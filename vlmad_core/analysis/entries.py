"""What a viewer compares: the entries of a comparison, their cells, and what to know of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from vlmad_core.analysis.claims import Claims
from vlmad_core.analysis.contamination import SEEN, Contamination, training_data, worst_contamination
from vlmad_core.errors import VlmadError
from vlmad_core.metrics.spec import MEAN
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord

Evidence = Literal["measured", "imported", "reported"]
"""Where an entry's numbers come from: runs of this program, runs of another that were imported, or a source."""

EntryKey = tuple[str, str, int, str]
"""Method, preset, number of references and protocol: what tells an entry from all others of its data set."""

KEY = ["method", "preset", "shots", "protocol"]
"""The columns of a leaderboard that hold an ``EntryKey``."""


@dataclass(frozen=True)
class Entry:
    """One line of a comparison: a method with its preset and number of references, over all its seeds.

    Attributes:
        method: Name of the method.
        preset: Name of its preset.
        shots: Number of normal references per category.
        title: How it is shown.
        runs: Its runs, one per seed, in order of seeds; none of a reported entry.
        variant: What tells it from another entry of the same method, preset and shots: the data its parameters were
            trained on, or the hash of its protocol; empty for the first of them.
        evidence: Where its numbers come from.
        protocol: Hash of its protocol, or of what a source says of it.
        backbone: Its backbone, as shown.
        claims: What sources report of it; None for entries with runs.
    """

    method: str
    preset: str
    shots: int
    title: str
    runs: tuple[RunRecord, ...] = ()
    variant: str = ""
    evidence: Evidence = "measured"
    protocol: str = ""
    backbone: str = ""
    claims: Claims | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """``winclip``, with another preset ``winclip:accurate``, with other parameters ``april_gan@bundled_a``."""
        name = self.method if self.preset == "canonical" else f"{self.method}:{self.preset}"
        return f"{name}@{self.variant}" if self.variant else name

    @property
    def key(self) -> EntryKey:
        """What tells it from all other entries of its data set."""
        return self.method, self.preset, self.shots, self.protocol

    @property
    def name(self) -> str:
        """It in a few words, such as ``WinCLIP+ (accurate), 2 ref.``."""
        return entry_name(self.title, self.preset, self.shots)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of its runs."""
        return tuple(run.key.seed for run in self.runs)

    @cached_property
    def contamination(self) -> Contamination:
        """Whether its data set was seen in training; of several seeds, the worst verdict."""
        return worst_contamination(self.runs)

    @property
    def seen(self) -> str:
        """Whether its data set was seen in training: ``no``, ``yes`` or ``not recorded``.

        Of a reported entry it is what the source says of the method's own training; what its backbone saw is nowhere
        reported.
        """
        if self.claims is None:
            return SEEN[self.contamination.verdict]
        return "yes" if self.claims.contaminated else "no" if self.claims.training_data else "not recorded"

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Data sets its own parameters were trained on; empty if none are recorded."""
        if self.claims is not None:
            return tuple(name for name in self.claims.training_data.split("+") if name not in ("", "none"))
        return tuple(sorted({name for run in self.runs for name in training_data(run)}))

    @property
    def transductive(self) -> bool:
        """Whether its scores depend on the other test images."""
        return any(bool(run.protocol.method.get("transductive")) for run in self.runs)

    @property
    def vision_language(self) -> bool:
        """Whether it works on a vision-language backbone."""
        return is_vision_language(self.method)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know before believing its number, each in a few words."""
        said = [] if self.vision_language else ["no vision-language model"]
        said += ["all test images at once"] if self.transductive else []
        said += [f"trained on {', '.join(self.trained_on)}"] if self.trained_on else []
        return tuple(said)

    def same_as(self, other: Entry) -> bool:
        """Whether it is the same method, preset, number of references and parameters."""
        return (self.id, self.shots) == (other.id, other.shots)

    def run_with(self, category: str) -> RunRecord | None:
        """The run of the lowest seed that has finished a category, or None."""
        return next((run for run in self.runs if category in run.units), None)


@dataclass(frozen=True)
class Comparison:
    """Runs that are shown together: one data set, and equal in all but the method; and guests.

    Attributes:
        dataset: Name of the data set.
        conditions: Eight hex digits that stand for everything that is equal.
        runs: The runs; vision-only guests and imported ones (``vlmad_core.analysis.comparable``) come last.
    """

    dataset: str
    conditions: str
    runs: tuple[RunRecord, ...]

    @property
    def backbone(self) -> Mapping[str, Any]:
        """What the protocol says of the backbone."""
        return self.runs[0].protocol.backbone

    @property
    def mode(self) -> str:
        """``matched`` or ``as_published``."""
        return self.runs[0].mode

    @property
    def imported(self) -> bool:
        """Whether all of it was imported: then it is a comparison of its own."""
        return is_imported(self.runs[0])

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that any of the runs has finished, sorted; what imported runs have beyond these is left out."""
        own = [run for run in self.runs if self.imported or not is_imported(run)]
        return tuple(sorted({category for run in own for category in run.units}))

    @property
    def shots(self) -> tuple[int, ...]:
        """Numbers of references that occur, sorted."""
        return tuple(sorted({run.key.shots for run in self.runs}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs that draw references, sorted."""
        return tuple(sorted({run.key.seed for run in self.runs if run.key.shots}))

    def entries(self, shots: int | None = None) -> tuple[Entry, ...]:
        """The entries, by shots and then by name; only those with this number of shots if given."""
        return entries_of(run for run in self.runs if shots is None or run.key.shots == shots)


def entries_of(runs: Iterable[RunRecord]) -> tuple[Entry, ...]:
    """Runs of one comparison as entries, by shots and then by name; imported ones last.

    The same weights may have been measured under two names, or with intervals of two forms; of these the run with the
    most finished units is taken, and of equally many the one that keeps replicates.
    """
    groups: dict[tuple[str, str, int], dict[str, dict[int, RunRecord]]] = {}
    for run in runs:
        protocols = groups.setdefault((run.key.method, run.key.preset, run.key.shots), {})
        seeds = protocols.setdefault(run.protocol.competitor, {})
        known = seeds.get(run.key.seed)
        if known is None or _fullness(run) > _fullness(known):
            seeds[run.key.seed] = run
    found = []
    for (method, preset, k), protocols in groups.items():
        variants: set[str] = set()
        for seeds in sorted(protocols.values(), key=_standing):
            own = tuple(seeds[seed] for seed in sorted(seeds))
            first = own[0]
            variant = _variant(first, variants) if variants else ""
            variants.add(variant)
            title = first.title
            if preset != "canonical" and f"({preset})" not in title:
                title = f"{title} ({preset})"
            title = f"{title}, {_told_apart(first, variant)}" if variant else title
            evidence: Evidence = "imported" if is_imported(first) else "measured"
            if evidence == "imported" and "(imported)" not in title:
                title = f"{title} (imported)"
            backbone = str(first.protocol.backbone.get("title") or first.key.backbone)
            found.append(Entry(method, preset, k, title, own, variant, evidence, first.protocol.hash, backbone))
    return tuple(sorted(found, key=lambda e: (e.shots, e.evidence == "imported", e.method, e.preset, e.variant)))


def in_the_running(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Those that count where one is ranked, advised or called best: imported ones only where there are no others."""
    entries = tuple(entries)
    return tuple(entry for entry in entries if entry.evidence != "imported") or entries


def entry_name(title: str, preset: str, shots: int) -> str:
    """An entry in a few words, with what tells it from others of the same method.

    >>> entry_name("WinCLIP+", "accurate", 2), entry_name("CLIP-AC", "canonical", 0)
    ('WinCLIP+ (accurate), 2 ref.', 'CLIP-AC')
    """
    name = title if preset == "canonical" or f"({preset})" in title else f"{title} ({preset})"
    return f"{name}, {shots} ref." if shots else name


def key_of(row: Mapping[Any, Any]) -> EntryKey:
    """The key of the entry that a row of a leaderboard is of."""
    return str(row["method"]), str(row["preset"]), int(row["shots"]), str(row["protocol"])


def is_imported(run: RunRecord) -> bool:
    """Whether another program made a run's scores; runs of this program from another machine are measured ones."""
    return isinstance(run.protocol.method.get("imported"), Mapping)


@cache
def is_vision_language(method: str) -> bool:
    """Whether a method works on a vision-language backbone; one that is not installed is taken to."""
    from vlmad_core.methods import create_method

    try:
        return create_method(method).capabilities.vision_language
    except VlmadError:
        return True


def cells(store: Store, entries: Sequence[Entry], metric: str, eval_size: int | None = 256) -> pd.DataFrame:
    """A metric for each category and entry, as mean over seeds.

    Args:
        store: The results.
        entries: The competitors, with runs.
        metric: Name of the metric.
        eval_size: Map size of pixel metrics; ignored for image metrics.

    Returns:
        category, line (id of the entry), title, value, low, high, n, n_seeds, reason; one row for each pair, also for
        those without a result, whose reason says so.
    """
    frame = store.metrics(run.id for entry in entries for run in entry.runs)
    frame = frame[frame["metric"] == metric]
    frame = frame[frame["eval_size"].isna() | (frame["eval_size"] == eval_size)]
    categories = sorted({category for entry in entries for run in entry.runs for category in run.units})
    place = {run.id: number for number, entry in enumerate(entries) for run in entry.runs}
    found = dict(list(frame.groupby([frame["run_id"].map(place), "category"])))
    nothing = frame.iloc[:0]
    rows = [
        {"category": name, "line": entry.id, "title": entry.title, **_cell(found.get((k, name), nothing), entry)}
        for k, entry in enumerate(entries)
        for name in categories
    ]
    columns = ["category", "line", "title", "value", "low", "high", "n", "n_seeds", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "low": float, "high": float})


def with_means(frame: pd.DataFrame, label: str = MEAN) -> pd.DataFrame:
    """Put the mean over categories of each entry in front; blank, with the reason, where a category is blank.

    Args:
        frame: As ``cells`` or ``differences_to`` gives it.
        label: What the row is called in ``category``.
    """
    rows = []
    for (line, title), group in frame.groupby(["line", "title"], sort=False):
        blank = group[group["value"].isna()]
        reason = f"{len(blank)} of {len(group)} categories are blank." if len(blank) else None
        value = math.nan if len(blank) else float(group["value"].mean())
        rows.append(
            {"category": label, "line": line, "title": title, "value": value, "low": math.nan, "high": math.nan}
            | {"n": int(group["n"].sum()), "n_seeds": 0, "reason": reason}
        )
    return pd.concat([pd.DataFrame(rows, columns=frame.columns), frame], ignore_index=True)


def differences_to(frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Each cell's value minus that of a reference in the same category; intervals are dropped.

    Args:
        frame: As ``cells`` gives it.
        reference: Id of the reference entry.
    """
    base = frame[frame["line"] == reference].set_index("category")["value"]
    value = frame["value"] - frame["category"].map(base)
    lost = value.isna() & frame["value"].notna()
    reason = frame["reason"].where(~lost, "The method compared with has no value here.")
    return frame.assign(value=value, low=math.nan, high=math.nan, reason=reason)


def wide_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per category and one column per entry, in percent.

    Args:
        frame: As ``cells`` gives it.

    Returns:
        category, and one column named by each entry's id, in the order given.
    """
    wide = frame.pivot_table(index="category", columns="line", values="value", dropna=False, sort=False)
    wide = wide.reindex(columns=list(dict.fromkeys(frame["line"]))) * 100
    return wide.reset_index().rename_axis(columns=None)


def _cell(values: pd.DataFrame, entry: Entry) -> dict[str, Any]:
    numbers = values["value"].to_numpy(float)
    blank = {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "n_seeds": 0}
    if len(numbers) == 0:
        return {**blank, "reason": f"{entry.title} has no finished result for this category."}
    if np.isnan(numbers).any():
        reasons = [reason for reason in values["reason"] if isinstance(reason, str)]
        return {**blank, "n": int(values["n"].min()), "reason": reasons[0] if reasons else "Not computed."}
    return {
        "value": float(numbers.mean()),
        "low": float(values["low"].to_numpy(float).mean()),
        "high": float(values["high"].to_numpy(float).mean()),
        "n": int(values["n"].min()),
        "n_seeds": len(numbers),
        "reason": None,
    }


def _fullness(run: RunRecord) -> tuple[int, bool]:
    return len(run.units), bool(run.plan.get("replicates"))


def _standing(seeds: Mapping[int, RunRecord]) -> tuple[Any, ...]:
    """Of several protocols of one entry: not trained on this data set first, then the most finished units."""
    first = seeds[min(seeds)]
    own = first.key.dataset in training_data(first)
    return own, -sum(len(run.units) for run in seeds.values()), first.protocol.hash


def _variant(run: RunRecord, taken: set[str]) -> str:
    name = "+".join(training_data(run))
    return name if name and name not in taken else run.protocol.hash


def _told_apart(run: RunRecord, variant: str) -> str:
    return f"protocol {variant}" if variant == run.protocol.hash else f"trained on {variant.replace('+', ', ')}"
