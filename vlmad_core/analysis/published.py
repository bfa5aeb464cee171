"""Published benchmarks as data sets: what sources report on one, as entries.

A published set has the id ``<name>@published`` (``mvtec_ad@published``) and entries with evidence ``reported``: one for
each method, number of references, training data and, where its authors give several, version. Each holds all claims on
it, the one that stands first (``vlmad_core.analysis.claims``). Their tables are in
``vlmad_core.analysis.published_tables``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import ALWAYS_SHOWN, EVERYTHING, Claim, Claims, Wanted, in_order, kind_of
from vlmad_core.analysis.entries import Comparison, Entry, is_imported
from vlmad_core.analysis.reported import GROUP_PREFIX, METRIC_NAMES, computed_means, published
from vlmad_core.analysis.sources import Source
from vlmad_core.datasets.catalogue import official_sets
from vlmad_core.metrics.spec import MEAN, METRICS, Level
from vlmad_core.store.schema import short_hash

SUFFIX = "@published"
AUPRO_LABEL = "AUPRO (as reported)"

_Row = Mapping[Any, Any]


@dataclass(frozen=True)
class PublishedSet:
    """A benchmark with all that is reported on it.

    Attributes:
        key: Its identifier, the one reported results use.
        title: Its name in words, without "(published)".
        entries: One for each method, number of references, training data and version; those with most claims first.
    """

    key: str
    title: str
    entries: tuple[Entry, ...]

    @property
    def id(self) -> str:
        """What stands in links: ``mvtec_ad@published``."""
        return f"{self.key}{SUFFIX}"

    @property
    def name(self) -> str:
        """How it is shown: ``MVTec AD (published)``."""
        return f"{self.title} (published)"

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims."""
        return tuple(claim for entry in self.entries for claim in claims_of(entry).every)

    @property
    def shots(self) -> tuple[int, ...]:
        """Numbers of references that occur, sorted."""
        return tuple(sorted({entry.shots for entry in self.entries}))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that occur, in the usual order."""
        found = {metric for entry in self.entries for metric, _ in claims_of(entry).values}
        return tuple(name for name in METRIC_NAMES if name in found)

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that occur, sorted; none where only means are reported."""
        return self.categories_in()

    def categories_in(self, metric: str | None = None, shots: int | None = None) -> tuple[str, ...]:
        """Categories with a claim in a metric and with a number of references (None for any), sorted."""
        found = {
            category
            for entry in self.entries
            for name, category in claims_of(entry).values
            if category != MEAN and metric in (None, name) and shots in (None, entry.shots)
        }
        return tuple(sorted(found))


def published_sets(reported: pd.DataFrame, sources: Mapping[str, Source]) -> dict[str, PublishedSet]:
    """The published benchmarks by their ids; the one with the most values first.

    Args:
        reported: As ``vlmad_core.analysis.reported.load_reported`` gives it.
        sources: As ``load_sources`` gives them.
    """
    rows: dict[str, list[_Row]] = {}
    for row in reported.to_dict("records"):
        rows.setdefault(str(row["dataset"]), []).append({str(name): value for name, value in row.items()})
    found = [PublishedSet(key, official_sets()[key].title, _entries(own, key, sources)) for key, own in rows.items()]
    order = sorted(found, key=lambda one: (-len(one.claims), one.key))
    return {one.id: one for one in order}


def reported_level(metric: str) -> Level:
    """``image`` or ``pixel``, for metrics as sources name them."""
    return "image" if metric.startswith("image") else "pixel"


def reported_label(metric: str) -> str:
    """A metric's name in words, for metrics as sources name them."""
    return METRICS[metric].label if metric in METRICS else AUPRO_LABEL


def wanted_claims(entry: Entry, metric: str, category: str = MEAN, wanted: Wanted = EVERYTHING) -> tuple[Claim, ...]:
    """The claims on one number that a viewer wants to see, the one that stands first; empty if there is none."""
    if wanted.training_data and claims_of(entry).training_data not in wanted.training_data:
        return ()
    every = claims_of(entry).values.get((metric, category), ())
    return tuple(claim for claim in every if wanted.takes(claim, entry.method))


def measured_twins(one: PublishedSet, found: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons measured on the images that a published set is of."""
    return tuple(other for other in found if published(other) == one.key)


@dataclass(frozen=True)
class Held:
    """How much evidence the program holds.

    Attributes:
        values: Published values.
        per_category: How many of them are of single categories.
        sources: Papers and repositories they are from.
        methods: Methods they are on.
        benchmarks: Data sets they are on.
        runs: Measured runs.
        measured_methods: Methods that were measured.
        measured_sets: Data sets that were measured.
    """

    values: int
    per_category: int
    sources: int
    methods: int
    benchmarks: int
    runs: int
    measured_methods: int
    measured_sets: int


def evidence_held(sets: Iterable[PublishedSet], found: Iterable[Comparison]) -> Held:
    """Count the published and the measured evidence.

    Args:
        sets: The published sets.
        found: The measured comparisons.
    """
    benchmarks, comparisons = list(sets), list(found)
    places = [
        (category, len(claims))
        for one in benchmarks
        for entry in one.entries
        for (_, category), claims in claims_of(entry).values.items()
    ]
    own = [run for one in comparisons for run in one.runs if not is_imported(run)]
    return Held(
        values=sum(count for _, count in places),
        per_category=sum(count for category, count in places if category != MEAN),
        sources=len({claim.source for one in benchmarks for claim in one.claims}),
        methods=len({entry.method for one in benchmarks for entry in one.entries}),
        benchmarks=len(benchmarks),
        runs=len({run.id for run in own}),
        measured_methods=len({run.key.method for run in own}),
        measured_sets=len({run.key.dataset for run in own}),
    )


def line_id(entry: Entry) -> str:
    """What tells an entry from all others of its set, the number of references included."""
    return f"{entry.id}/{entry.shots}"


def method_key(text: str) -> str:
    """What stands for a method in links that this program has no name for: ``metauas_star`` for ``MetaUAS*``."""
    # MetaUAS, MetaUAS* and MetaUAS*+ are three methods.
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("*", "_star").replace("+", "_plus")).strip("_")


def claims_of(entry: Entry) -> Claims:
    """What is reported of an entry of a published set.

    Raises:
        TypeError: If it is a measured one.
    """
    if entry.claims is None:
        raise TypeError(f"The entry {entry.id} was measured; a published set holds reported ones only.")
    return entry.claims


# ---------------------------------------------------------------------------------------------------------------------
# Which rows of the table belong to one entry


def _entries(table: Sequence[_Row], dataset: str, sources: Mapping[str, Source]) -> tuple[Entry, ...]:
    """The entries of one data set, those with most claims first."""
    rows = [
        {**row, "stated": True}
        for row in table
        if (row["kind"] == "main" or row["method_id"] in ALWAYS_SHOWN) and not row["category"].startswith(GROUP_PREFIX)
    ]
    rows += computed_means(rows)
    groups: dict[tuple[str, int], list[_Row]] = {}
    for row in rows:
        groups.setdefault((str(row["method"]), int(row["shots"])), []).append(row)
    found: list[tuple[int, Entry]] = []
    taken: set[tuple[str, int]] = set()
    parts = [(*place, *line, own) for place, some in groups.items() for line, own in _lines(some).items()]
    for method, shots, training, version, own in sorted(parts, key=lambda part: (-len(part[-1]), part[:4])):
        title = version if version.startswith(method) else f"{method} ({version})" if version else method
        name = str(own[0]["method_id"] or method_key(method))
        contaminated = dataset in training.split("+")
        if (title, shots) in taken or contaminated:
            title += f", trained on {training.replace('+', ', ') or 'data not said'}"
        variant = method_key(title) if (name, shots) in taken else ""
        taken |= {(title, shots), (name, shots)}
        entry = Entry(
            method=name,
            preset="canonical",
            shots=shots,
            title=title,
            variant=variant,
            evidence="reported",
            protocol=short_hash([method, str(shots), training, version]),
            backbone=next((str(row["backbone"]) for row in own if row["backbone"]), ""),
            claims=Claims(_values(own, sources), training, contaminated),
        )
        found.append((len(own), entry))
    return tuple(entry for _, entry in found)


def _lines(rows: Sequence[_Row]) -> dict[tuple[str, str], list[_Row]]:
    """The rows of one method and number of references by training data and version.

    The authors' own claims say which there are. A claim that does not say what was trained on, or which version was
    run, belongs to the main one: that without a version, and with most values.
    """
    own = [row for row in rows if _is_authors(row)]
    counts = Counter((str(row["training_data"]), _version(row)) for row in own if row["training_data"])
    counts = counts or Counter((str(row["training_data"]), _version(row)) for row in own or rows)
    lines: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        training, version = str(row["training_data"]), _version(row)
        fitting = [line for line in counts if training in ("", line[0])]
        exact = [line for line in fitting if line[1] == version]
        candidates = exact or ([] if version else fitting)
        line = min(candidates, key=lambda line: (line[1] != "", -counts[line], line)) if candidates else None
        lines.setdefault(line or (training, version), []).append(row)
    return lines


def _is_authors(row: _Row) -> bool:
    return row["origin"] in ("primary", "secondary")


def _version(row: _Row) -> str:
    """What the authors call one of several versions of their method: what follows ``paper,`` and the like."""
    variant = str(row["variant"])
    if row["kind"] == "ablation":
        return variant.removeprefix("ablation: ").removeprefix("+ ")
    match = re.match(r"(?:paper|repo results|README table), (.+)", variant)
    return match[1] if match and _is_authors(row) else ""


def _values(rows: Sequence[_Row], sources: Mapping[str, Source]) -> dict[tuple[str, str], tuple[Claim, ...]]:
    claims: dict[tuple[str, str], list[Claim]] = {}
    weights: Counter[tuple[str, str]] = Counter()
    for row in rows:
        source = sources.get(str(row["source"]))
        weights[str(row["source"]), str(row["variant"])] += 1
        claims.setdefault((str(row["metric"]), str(row["category"])), []).append(
            Claim(
                value=float(row["value"]),
                std=float(row["std"]),
                kind=kind_of(str(row["origin"]), str(row["read"])),
                source=str(row["source"]),
                citation=source.label if source else str(row["source"]),
                year=source.year if source else None,
                url=source.url if source else None,
                location=str(row["location"]),
                variant=str(row["variant"]),
                backbone=str(row["backbone"]),
                training_data=str(row["training_data"]),
                note=str(row["note"]),
                stated=bool(row["stated"]),
            )
        )
    return {place: in_order(some, weights) for place, some in claims.items()}
