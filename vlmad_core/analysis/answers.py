"""The short answers of the overview and of a report, each computed from the results with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vlmad_core.analysis.best import Best, best, differences_between, in_order
from vlmad_core.analysis.comparable import hardware_text
from vlmad_core.analysis.contamination import run_contamination, training_data
from vlmad_core.analysis.entries import KEY, Comparison, Entry, cells
from vlmad_core.analysis.instructive import threshold_to_open
from vlmad_core.analysis.speed import cost_table
from vlmad_core.analysis.statistics import DESIGNS, PairedDifference
from vlmad_core.analysis.verdicts import counts, image_thresholds, judge, judge_entry, ranked
from vlmad_core.metrics.spec import METRICS
from vlmad_core.store.reader import Store

IMAGE_METRIC = "image_auroc"
PIXEL_METRIC = "aupro_30"
THRESHOLD = "image_f1max"


@dataclass(frozen=True)
class ShortAnswer:
    """One question with its answer.

    Attributes:
        question: In words.
        headline: The answer in a few words.
        detail: What it rests on, and how sure it is.
    """

    question: str
    headline: str
    detail: str


@dataclass(frozen=True)
class Trust:
    """What an entry's number rests on.

    Attributes:
        images: Test images.
        categories: Categories.
        draws: Draws of references it is averaged over; 0 where none are drawn.
        seen: Whether the data set was seen in training: ``no``, ``yes`` or ``not recorded``.
        reason: What that rests on.
        code: Version of the program that measured it.
        machine: Where.
        finished: When the last category was finished, as a date; empty if not known.
        run_id: The run to look into.
    """

    images: int
    categories: int
    draws: int
    seen: str
    reason: str
    code: str
    machine: str
    finished: str
    run_id: str


def answers(store: Store, one: Comparison, board: pd.DataFrame) -> tuple[ShortAnswer, ...]:
    """All answers the results support, in the order in which people ask.

    Args:
        store: The results.
        one: The runs that may be ranked together.
        board: Their leaderboard.
    """
    found: list[ShortAnswer | None] = []
    for shots in dict.fromkeys((one.shots[0], one.shots[-1])):
        how = "without reference images" if shots == 0 else f"with {shots} normal reference images per category"
        for metric, task in ((IMAGE_METRIC, "tells defective parts from good ones"), (PIXEL_METRIC, "shows where")):
            found.append(_best(store, one, board, metric, shots, f"Which method best {task}, {how}?"))
    found.append(_mistakes(store, one, board))
    found.append(_references(store, one, board))
    found.append(_speed(one))
    return tuple(answer for answer in found if answer is not None)


def caveats(one: Comparison, board: pd.DataFrame) -> tuple[str, ...]:
    """What a reader must know before believing a number of this comparison."""
    found = []
    if one.backbone.get("demonstration"):
        found.append(
            "The backbone is a small demonstration model. Its numbers show how the program works and decide nothing "
            "about real parts."
        )
    data = [run.provenance.data for run in one.runs]
    if any(entry.get("synthetic") for entry in data):
        found.append("The images are rendered, not photographed.")
    sizes = {str(run.protocol.data.get("size")) for run in one.runs} - {"full", "None"}
    if sizes:
        found.append(f"Only a sample of the test images was used ({', '.join(sorted(sizes))}).")
    imported = {run.title: run.provenance.data.get("imported") for run in one.runs}
    for title, note in imported.items():
        if not note:
            continue
        found.append(f"The results of {title} were imported ({note.get('origin')}), not computed here.")
        if note.get("conditions_declared_as"):
            found.append(f"That {title} was run under the same conditions was declared by whoever imported it.")
    short = board[(board["n_categories"] < len(one.categories)) & (board["level"] == "image")]
    found += [
        f"{title} is not finished on all categories; it has no place in the ranking."
        for title in dict.fromkeys(short["title"])
    ]
    trained = {run.title: training_data(run) for run in one.runs if training_data(run)}
    found += [f"{title} uses parameters that were trained on {', '.join(on)}." for title, on in trained.items()]
    seen = dict.fromkeys(run.title for run in one.runs if run_contamination(run).verdict == "contaminated")
    found += [f"{title} is contaminated: it was trained on the images it is judged on." for title in seen]
    if len(one.categories) < 5:
        found.append(f"With {len(one.categories)} categories, intervals over categories are rough.")
    return tuple(found)


def fastest_of(costs: pd.DataFrame, names: Sequence[str]) -> pd.Series | None:
    """The entry with the lowest latency measured one image at a time, among some; None if none was timed.

    Args:
        costs: As ``cost_table`` gives it.
        names: Names of the entries that count; all if empty.
    """
    known = costs[costs["latency_ms"].notna() & ~costs["shared"].astype(bool)]
    kept = known[known["name"].isin(list(names))] if names else known
    return None if kept.empty else kept.sort_values("latency_ms").iloc[0]


def weakest_category(store: Store, entry: Entry, metric: str, categories: Sequence[str]) -> tuple[str, float] | None:
    """The category in which an entry is worst, with its value; None where it has no value.

    Args:
        store: The results.
        entry: The entry.
        metric: Name of the metric.
        categories: Those to look at.
    """
    frame = cells(store, [entry], metric)
    frame = frame[frame["category"].isin(list(categories)) & frame["value"].notna()]
    if frame.empty:
        return None
    row = frame.sort_values(["value", "category"]).iloc[0]
    return str(row["category"]), float(row["value"])


def clearest_misses(store: Store, entry: Entry, category: str, most: int = 3) -> tuple[tuple[str, str], ...]:
    """The defects an entry misses most clearly: image id and defect type, at the threshold views open at.

    Args:
        store: The results.
        entry: The entry.
        category: The category.
        most: How many at most.
    """
    run = entry.run_with(category)
    if run is None:
        return ()
    images = store.images(run.id, category)
    stored = image_thresholds(run, category, images)
    name = threshold_to_open(stored)
    if name is None:
        return ()
    missed = ranked(judge(images, stored[name].value), ["missed"]).head(most)
    return tuple((str(row["image_id"]), str(row["defect_type"])) for row in missed.to_dict("records"))


def entry_to_look_at(store: Store, one: Comparison, entry: Entry, category: str) -> Entry:
    """Where an entry's anomaly maps can be looked at: itself, or where none were kept the nearest number of references.

    Args:
        store: The results.
        one: The comparison the entry is of.
        entry: The entry.
        category: The category.

    Returns:
        The entry itself too where no maps of the method were kept at all.
    """

    def kept(other: Entry) -> bool:
        run = other.run_with(category)
        return run is not None and store.keeps_maps(run.id, category)

    shown = [other for other in one.entries() if other.id == entry.id and kept(other)]
    return min(shown, key=lambda other: abs(other.shots - entry.shots), default=entry)


def trust(entry: Entry) -> Trust:
    """What an entry's number rests on, from the records of its runs."""
    run = entry.runs[0]
    finished = max((unit.finished_at for unit in run.units.values()), default="")
    return Trust(
        images=sum(unit.images for unit in run.units.values()),
        categories=len(run.units),
        draws=len(entry.runs) if entry.shots else 0,
        seen=entry.seen,
        reason=entry.contamination.reason,
        code=run.provenance.code_version,
        machine=hardware_text(run),
        finished=finished[:10],
        run_id=run.id,
    )


def overview_table(one: Comparison, board: pd.DataFrame, costs: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """All that was measured, one row per entry, the best in the first metric first.

    Args:
        one: The comparison.
        board: Its leaderboard.
        costs: As ``cost_table`` gives it.
        metrics: Names of the metrics to show.

    Returns:
        name, dataset, the metrics in percent (blank where missing), latency_ms (of those timed one image at a time),
        seen, remarks, n_categories.
    """
    entries = {entry.name: entry for entry in one.entries()}
    wide = board.pivot_table(index=[*KEY, "name"], columns="metric", values="value", aggfunc="first", dropna=False)
    wide = wide.dropna(how="all").reindex(columns=list(metrics)).mul(100).reset_index()
    timed = costs[~costs["shared"].astype(bool)].set_index("name")["latency_ms"]
    table = wide.assign(
        dataset=one.dataset,
        latency_ms=wide["name"].map(timed),
        seen=wide["name"].map(lambda name: entries[name].seen),
        remarks=wide["name"].map(lambda name: "; ".join(entries[name].remarks)),
        n_categories=wide["name"].map(board.groupby("name")["n_categories"].max()),
    )
    columns = ["name", "dataset", *metrics, "latency_ms", "seen", "remarks", "n_categories"]
    return table.sort_values(list(metrics), ascending=False)[columns]


def in_words(low: float, high: float) -> str:
    """An interval of fractions in percent, in words; empty where there is none.

    >>> in_words(0.61, 0.734)
    '61.0 to 73.4'
    """
    return "" if math.isnan(low) or math.isnan(high) else f"{100 * low:.1f} to {100 * high:.1f}"


def _best(store: Store, one: Comparison, board: pd.DataFrame, metric: str, shots: int, question: str) -> ShortAnswer:
    found = best(one, board, metric, shots=shots)
    label = METRICS[metric].label
    if found is None:
        every = board[(board["metric"] == metric) & (board["shots"] == shots)]
        reasons = [reason for reason in every["reason"] if isinstance(reason, str)]
        return ShortAnswer(question, "No answer", reasons[0] if reasons else f"{label} was not measured.")
    interval = in_words(found.low, found.high)
    detail = [
        f"{label} {100 * found.value:.1f}%, {f'95% interval {interval}' if interval else 'no interval'}, over "
        f"{found.categories} categories and {found.images} images.",
        _lead(store, one, found, metric, shots),
    ]
    return ShortAnswer(question, f"{found.entry.title}, {100 * found.value:.1f}%", " ".join(detail))


def _lead(store: Store, one: Comparison, found: Best, metric: str, shots: int) -> str:
    """How far the best is ahead of the next, in each design that the results allow."""
    second = found.runner_up
    if second is None:
        return "No other method has a value to compare with."
    gaps = []
    for design in DESIGNS:
        every = differences_between(store, one.entries(shots), metric, one.categories, design=design)
        gaps.append(every.between(found.entry.key, second.key))
    known = [gap for gap in gaps if gap is not None and gap.value is not None]
    if not known:
        return f"{second.title} follows; the two have nothing in common to be compared on."
    text = f"The lead over {second.title} is {100 * (known[0].value or 0.0):+.1f} points: "
    text += "; ".join(_sure(gap, "a clear lead" if gap.ahead else "not a clear difference") for gap in known)
    pairs = known[0].pairs
    return f"{text}{f' (corrected for {pairs} pairs)' if pairs > 1 else ''}."


def _sure(gap: PairedDifference, verdict: str) -> str:
    """A verdict with its design and interval."""
    if gap.p is None or gap.low is None or gap.high is None:
        return f"{gap.design} not tested, {gap.reason}"
    return f"{gap.design} {verdict} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"


def _mistakes(store: Store, one: Comparison, board: pd.DataFrame) -> ShortAnswer | None:
    found = best(one, board, IMAGE_METRIC)
    if found is None:
        return None
    total = counts(judge_entry(store, found.entry, one.categories, THRESHOLD, or_first=False))
    defective, normal = total["missed"] + total["found"], total["false_alarm"] + total["passed"]
    if not defective or not normal:
        return None
    shots = found.entry.shots
    return ShortAnswer(
        "What would it get wrong?",
        f"{total['missed']} of {defective} defects missed, {total['false_alarm']} of {normal} good parts flagged",
        f"{found.entry.title}{f' with {shots} references' if shots else ''}, with each category's threshold at its "
        "largest F1. That threshold is chosen on these very images (an oracle), so in use it would be worse.",
    )


def _references(store: Store, one: Comparison, board: pd.DataFrame) -> ShortAnswer | None:
    """What reference images change, for the best method that was measured with and without them."""
    fewest, most = one.shots[0], one.shots[-1]
    before = {entry.id: entry for entry in one.entries(fewest)}
    for entry, _ in in_order(one, board, IMAGE_METRIC, most) if fewest != most else ():
        if entry.id not in before:
            continue
        pair = (entry, before[entry.id])
        shared = sorted(set.intersection(*(set(run.units) for one_of in pair for run in one_of.runs)))
        found = [
            differences_between(store, pair, IMAGE_METRIC, shared, design=design).between(pair[0].key, pair[1].key)
            for design in DESIGNS
        ]
        known = [gap for gap in found if gap is not None and gap.value is not None]
        if known:
            sure = "; ".join(_sure(gap, "a clear change" if gap.clear else "not a clear change") for gap in known)
            return ShortAnswer(
                f"What do {most} reference images bring?",
                f"{100 * (known[0].value or 0.0):+.1f} points of image AUROC",
                f"{entry.title} with {most} against {fewest} references, over {len(shared)} categories: {sure}. "
                f"{len(entry.runs)} draw(s) of references.",
            )
    return None


def _speed(one: Comparison) -> ShortAnswer | None:
    costs = cost_table(one.entries()).dropna(subset="latency_ms").sort_values("latency_ms")
    if costs.empty:
        return None
    if costs["hardware_id"].nunique() > 1:
        return ShortAnswer(
            "Which is fastest?", "No answer", "The runs come from different machines and are not comparable."
        )
    row = costs.iloc[0]
    how = "as its share of a batch that other methods used too" if row["shared"] else "one image at a time"
    return ShortAnswer(
        "Which is fastest?",
        f"{row['title']}, {row['latency_ms']:.0f} ms per image",
        f"Median, {how}; {row['processor']}, {row['precision']}. Slowest: {costs.iloc[-1]['title']}, "
        f"{costs.iloc[-1]['latency_ms']:.0f} ms.",
    )
