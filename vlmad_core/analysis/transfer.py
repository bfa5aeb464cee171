"""Methods that train: what they were trained on against what they are judged on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import EVERYTHING, KIND_NAMES, Wanted
from vlmad_core.analysis.contamination import SEEN, training_data
from vlmad_core.analysis.entries import Comparison, Entry, key_of
from vlmad_core.analysis.published import PublishedSet, claims_of, wanted_claims
from vlmad_core.datasets.catalogue import canonical_name, official_sets
from vlmad_core.paths import as_typed, parameters_file
from vlmad_core.store.schema import RunRecord, short_hash

NOTHING = "nothing"
"""What the row of the method without training is called among the training sets."""


@dataclass(frozen=True)
class TransferCell:
    """One combination of training data and data set.

    Attributes:
        trained_on: Names of the training data, joined by `` + ``; ``NOTHING`` for the method without training.
        dataset: The data set judged.
        method: Name of the method in this cell.
        title: How it is shown.
        value: The metric, mean over categories and seeds; None where there is none.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        categories: Number of categories.
        verdict: ``clean``, ``contaminated`` or ``unknown``; None where nothing was run.
        reason: Why there is no value, or what the verdict rests on; of a published one, whose number it is.
        source: Key of the source of a published value; empty otherwise.
    """

    trained_on: str
    dataset: str
    method: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    categories: int
    verdict: str | None
    reason: str
    source: str = ""


def _setting(comparison: Comparison) -> str:
    """Eight hex digits over all but the method and the data: equal where only these two differ."""
    protocol = comparison.runs[0].protocol
    parts = {"mode": protocol.mode, "reading": protocol.reading, "evaluation": protocol.evaluation}
    names = ("weights_hash", "activation", "image_size", "precision", "position_rule")
    return short_hash({**parts, "backbone": {name: protocol.backbone.get(name) for name in names}})


def on_other_data(comparison: Comparison, among: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Comparisons that are equal to one in all but the data set, one for each; the given one first.

    Args:
        comparison: The one.
        among: Those to choose from, the preferred ones of a data set first.
    """
    first = {comparison.dataset: comparison}
    for other in among:
        if _setting(other) == _setting(comparison):
            first.setdefault(other.dataset, other)
    return tuple(first.values())


def trained_methods(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """Methods with parameters of their own that were run in some comparisons: name and title."""
    entries = [entry for one in comparisons for entry in one.entries() if _is_trained(entry)]
    return {entry.method: entry.runs[0].title for entry in sorted(entries, key=lambda entry: entry.method)}


def transfer_cells(
    comparisons: Sequence[Comparison],
    boards: Mapping[str, pd.DataFrame],
    method: str,
    metric: str,
    *,
    shots: int = 0,
    without: str = "clip_cpe",
) -> tuple[TransferCell, ...]:
    """Every combination of training data and data set for one method, also those that were not run.

    Args:
        comparisons: One for each data set, equal in everything but the data.
        boards: A leaderboard for each data set, as ``leaderboard`` gives it.
        method: A method with trained parameters.
        metric: Name of the metric.
        shots: Number of references.
        without: A method that trains nothing, put into a last row to be held against; left out if it was not run.

    Returns:
        Row by row: training data in the order of the data sets, combinations of several after single ones.
    """
    names = [one.dataset for one in comparisons]
    title = trained_methods(comparisons).get(method, method)
    entries = {
        (one.dataset, label_of(entry.runs[0])): entry
        for one in comparisons
        for entry in one.entries(shots)
        if entry.method == method and _is_trained(entry)
    }
    rows = [*names, *sorted({label for _, label in entries} - set(names), key=lambda label: (label.count("+"), label))]
    found = []
    for label in rows:
        for one in comparisons:
            entry = entries.get((one.dataset, label))
            if entry is None:
                found.append(TransferCell(label, one.dataset, method, title, None, None, None, 0, None, "Not run yet."))
            else:
                found.append(_cell(entry, label, one.dataset, boards[one.dataset], metric))
    for one in comparisons:
        base = next((entry for entry in one.entries(0) if entry.method == without), None)
        if base is not None:
            found.append(_cell(base, NOTHING, one.dataset, boards[one.dataset], metric))
    return tuple(found)


def published_methods(
    sets: Iterable[PublishedSet], metric: str, shots: int, wanted: Wanted = EVERYTHING
) -> dict[str, tuple[str, ...]]:
    """Methods with published values that say what they were trained on, and the sets they are judged on.

    Args:
        sets: The published sets.
        metric: Name of the metric.
        shots: Number of references.
        wanted: Which claims.

    Returns:
        By method and version, the keys of the sets it is judged on; first those trained on most different data, then
        those judged on most sets.
    """
    places: dict[str, list[str]] = {}
    trained: dict[str, set[str]] = {}
    for one in sets:
        for entry in one.entries:
            if entry.shots == shots and wanted_claims(entry, metric, wanted=wanted):
                places.setdefault(_version(entry), []).append(one.key)
                trained.setdefault(_version(entry), set()).add(claims_of(entry).training_data)
    rows = {name: len(data - {"", "none"}) for name, data in trained.items()}
    order = sorted((name for name in places if rows[name]), key=lambda name: (-rows[name], -len(places[name]), name))
    return {name: tuple(dict.fromkeys(places[name])) for name in order}


def published_transfer(
    sets: Iterable[PublishedSet],
    method: str,
    metric: str,
    *,
    shots: int = 0,
    wanted: Wanted = EVERYTHING,
    without: str = "WinCLIP",
) -> tuple[TransferCell, ...]:
    """Every combination of training data and published set for one method, with the claim that stands.

    Args:
        sets: The sets it is judged on, one column each.
        method: A method and version, as ``published_methods`` names them.
        metric: Name of the metric.
        shots: Number of references.
        wanted: Which claims.
        without: A method that trains nothing, put into a last row to be held against; left out if nothing is reported.

    Returns:
        Row by row, most values first; what was not said to be trained on after all others. A cell's ``reason`` is whose
        number it is, and where it stands.
    """
    columns = list(sets)
    rows: dict[str, dict[str, TransferCell]] = {}
    for one in columns:
        for entry in one.entries:
            named = _version(entry)
            trained = claims_of(entry).training_data
            if named == method and entry.shots == shots:
                label = " + ".join(map(_title, trained.split("+"))) if trained not in ("", "none") else "not said"
            elif named == without and trained == "none" and entry.shots == 0:
                label = NOTHING
            else:
                continue
            cell = _published_cell(entry, label, one, metric, wanted)
            if cell is not None:
                rows.setdefault(label, {}).setdefault(one.key, cell)
    last = {NOTHING: 2, "not said": 1}
    order = sorted(rows, key=lambda label: (last.get(label, 0), -len(rows[label]), label))
    return tuple(
        rows[label].get(one.key) or _unreported(next(iter(rows[label].values())), one.title)
        for label in order
        for one in columns
    )


def cells_frame(cells: Sequence[TransferCell]) -> pd.DataFrame:
    """Cells as a table, one row each, values as fractions: for figures and for csv."""
    rows = [
        {
            "trained_on": cell.trained_on, "dataset": cell.dataset, "method": cell.method, "title": cell.title,
            "value": cell.value, "low": cell.low, "high": cell.high, "categories": cell.categories,
            "seen": SEEN.get(cell.verdict or "", ""), "verdict": cell.verdict or "", "reason": cell.reason,
        }
        for cell in cells
    ]  # fmt: skip
    columns = list(TransferCell.__dataclass_fields__)
    frame = pd.DataFrame(rows, columns=[*columns[:8], "seen", "verdict", "reason"])
    frame = frame.astype({"value": float, "low": float, "high": float, "categories": "Int64"})
    return frame.assign(categories=frame["categories"].mask(frame["value"].isna()))


def label_of(run: RunRecord) -> str:
    """What a run's own parameters were trained on, in words; ``not recorded`` where the record says nothing."""
    return " + ".join(training_data(run)) or "not recorded"


def fill_commands(method: str, data: Sequence[str], dataset: str, backbone: str, weights_hash: str) -> tuple[str, ...]:
    """The commands that train a method on some data and judge it on other, shortest way first.

    Parameters that come with the program or were trained before are used where they fit the backbone.

    Args:
        method: A method with trained parameters.
        data: Names of the data sets to train on.
        dataset: The data set to judge.
        backbone: Identifier of the backbone.
        weights_hash: Hash of its weights.
    """
    from vlmad_core.methods.trained import find_parameters_trained_on

    program = ["python", "-m", "vlmad_core"]
    known = find_parameters_trained_on(data, method, weights_hash)
    train = [] if known else [shlex.join([*program, "train", method, "--data", *data, "--backbone", backbone])]
    path = as_typed(known or parameters_file(method, map(canonical_name, data), weights_hash))
    run = [*program, "precompute", "--dataset", dataset, "--method", method, "--backbone", backbone]
    return (*train, shlex.join([*run, "--parameters", f"{method}={path}"]))


def _is_trained(entry: Entry) -> bool:
    """Whether any run of an entry has parameters of its own."""
    return any(bool(run.provenance.data.get("trained")) for run in entry.runs)


def _cell(entry: Entry, label: str, dataset: str, board: pd.DataFrame, metric: str) -> TransferCell:
    rows = board[board["metric"] == metric]
    rows = rows[[key_of(row) == entry.key for row in rows.to_dict("records")]]
    common: dict[str, Any] = {
        "trained_on": label, "dataset": dataset, "method": entry.method, "title": entry.title,
        "verdict": entry.contamination.verdict,
    }  # fmt: skip
    if rows.empty or pd.isna(rows.iloc[0]["value"]):
        stated = rows.iloc[0]["reason"] if len(rows) else None
        reason = stated if isinstance(stated, str) else "This metric was not computed in the run."
        return TransferCell(**common, value=None, low=None, high=None, categories=0, reason=reason)
    row = rows.iloc[0]
    low, high = (None if pd.isna(row[end]) else float(row[end]) for end in ("low", "high"))
    count = int(row["n_categories"])
    return TransferCell(
        **common, value=float(row["value"]), low=low, high=high, categories=count, reason=entry.contamination.reason
    )


def _version(entry: Entry) -> str:
    """A published entry's method and version, whatever it was trained on."""
    return entry.title.partition(", trained on ")[0]


def _title(dataset: str) -> str:
    known = official_sets().get(dataset)
    return known.title if known else dataset


def _unreported(beside: TransferCell, dataset: str) -> TransferCell:
    """The blank cell on a data set in the row of another cell."""
    names = beside.trained_on, dataset, beside.method, beside.title
    return TransferCell(*names, None, None, None, 0, None, "No source gives this number.")


def _published_cell(entry: Entry, label: str, one: PublishedSet, metric: str, wanted: Wanted) -> TransferCell | None:
    claims = wanted_claims(entry, metric, wanted=wanted)
    if not claims:
        return None
    first, others = claims[0], len(claims) - 1
    more = f"; {others} more" if others else ""
    contaminated = claims_of(entry).contaminated
    verdict = "contaminated" if contaminated else "unknown" if label == "not said" else "clean"
    reason = f"{KIND_NAMES[first.kind]}: {first.citation}, {first.location}{more}"
    return TransferCell(
        label, one.title, entry.method, _version(entry), first.value, None, None, len(one.categories), verdict, reason,
        first.source,
    )  # fmt: skip
