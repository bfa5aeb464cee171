"""The answers of a report as sentences, each computed from the results with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vlmad_core.analysis.comparison import Comparison, Lead, Line, cells, lead
from vlmad_core.analysis.contamination import run_contamination
from vlmad_core.analysis.speed import cost_table
from vlmad_core.analysis.verdicts import counts, image_thresholds, judge
from vlmad_core.metrics.spec import METRICS
from vlmad_core.store.reader import Store

IMAGE_METRIC = "image_auroc"
PIXEL_METRIC = "aupro_30"
THRESHOLD = "image_f1max"


@dataclass(frozen=True)
class Answer:
    """One question with its answer.

    Attributes:
        question: In words.
        headline: The answer in a few words.
        detail: What it rests on, and how sure it is.
    """

    question: str
    headline: str
    detail: str


def answers(store: Store, one: Comparison, board: pd.DataFrame) -> tuple[Answer, ...]:
    """All answers the results support, in the order in which people ask.

    Args:
        store: The results.
        one: The runs that may be ranked together.
        board: Their leaderboard.
    """
    found = []
    for shots in dict.fromkeys((one.shots[0], one.shots[-1])):
        how = "without reference images" if shots == 0 else f"with {shots} normal reference images per category"
        for metric, task in ((IMAGE_METRIC, "tells defective parts from good ones"), (PIXEL_METRIC, "shows where")):
            found.append(_best(store, one, board, metric, shots, f"Which method best {task}, {how}?"))
    found.append(_mistakes(store, one, board))
    found.append(_references(store, one, board))
    found.append(_speed(one))
    return tuple(answer for answer in found if answer is not None)


def best_line(one: Comparison, board: pd.DataFrame, metric: str, shots: int | None = None) -> Line | None:
    """The line with the highest value in a metric; None where none has a value.

    Args:
        one: The runs that may be ranked together.
        board: Their leaderboard.
        metric: Name of the metric.
        shots: Only lines with so many references; None for all.
    """
    rows = _ranked(board, metric, shots)
    if rows.empty:
        return None
    first = rows.iloc[0]
    key = (first["method"], first["preset"], int(first["shots"]))
    return next((line for line in one.lines() if (line.method, line.preset, line.shots) == key), None)


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
    imported = {run.title: entry["imported"] for run, entry in zip(one.runs, data, strict=True) if _imported(entry)}
    for title, note in imported.items():
        found.append(f"The results of {title} were imported ({note.get('origin')}), not computed here.")
        if note.get("conditions_declared_as"):
            found.append(f"That {title} was run under the same conditions was declared by whoever imported it.")
    short = board[(board["n_categories"] < len(one.categories)) & (board["level"] == "image")]
    found += [
        f"{title} is not finished on all categories; it has no place in the ranking."
        for title in dict.fromkeys(short["title"])
    ]
    trained = {
        run.title: training["training_data"]
        for run in one.runs
        if isinstance(training := run.provenance.data.get("trained"), Mapping) and training.get("training_data")
    }
    found += [f"{title} uses parameters that were trained on {', '.join(on)}." for title, on in trained.items()]
    seen = dict.fromkeys(run.title for run in one.runs if run_contamination(run).verdict == "contaminated")
    found += [f"{title} is contaminated: it was trained on the images it is judged on." for title in seen]
    if len(one.categories) < 5:
        found.append(f"With {len(one.categories)} categories, intervals over categories are rough.")
    return tuple(found)


def _best(store: Store, one: Comparison, board: pd.DataFrame, metric: str, shots: int, question: str) -> Answer | None:
    rows = _ranked(board, metric, shots)
    label = METRICS[metric].label
    if rows.empty:
        every = board[(board["metric"] == metric) & (board["shots"] == shots)]
        reasons = [reason for reason in every["reason"] if isinstance(reason, str)]
        return Answer(question, "No answer", reasons[0] if reasons else f"{label} was not measured.")
    first = rows.iloc[0]
    low, high = (f"{100 * first[end]:.1f}" for end in ("low", "high"))
    detail = [
        f"{label} {100 * first['value']:.1f}%, 95% interval {low} to {high}, "
        f"over {first['n_categories']} categories and {first['n']} images."
    ]
    if len(rows) == 1:
        detail.append("No other method has a value to compare with.")
    else:
        lines = {(line.method, line.preset): line for line in one.lines(shots)}
        second = rows.iloc[1]
        gap = difference(
            store, lines[(first["method"], first["preset"])], lines[(second["method"], second["preset"])], metric
        )
        detail.append(_gap_text(str(second["title"]), float(first["value"] - second["value"]), gap))
    return Answer(question, f"{first['title']}, {100 * first['value']:.1f}%", " ".join(detail))


def _gap_text(second: str, plain: float, gap: Lead | None) -> str:
    if gap is None:
        return f"{second} follows {100 * plain:.1f} points behind; with one category in common, no interval is known."
    verdict = "a clear lead" if gap.clear and gap.difference > 0 else "not a clear difference"
    return (
        f"The lead over {second} is {100 * gap.difference:+.1f} points "
        f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f}): {verdict}."
    )


def _mistakes(store: Store, one: Comparison, board: pd.DataFrame) -> Answer | None:
    line = best_line(one, board, IMAGE_METRIC)
    if line is None:
        return None
    total = dict.fromkeys(("missed", "found", "false_alarm", "passed"), 0)
    for category in one.categories:
        run = line.run_with(category)
        if run is None:
            continue
        images = store.images(run.id, category)
        thresholds = image_thresholds(run, category, images)
        if THRESHOLD not in thresholds:
            continue
        for name, number in counts(judge(images, thresholds[THRESHOLD].value)).items():
            total[name] += number
    defective, normal = total["missed"] + total["found"], total["false_alarm"] + total["passed"]
    if not defective or not normal:
        return None
    return Answer(
        "What would it get wrong?",
        f"{total['missed']} of {defective} defects missed, {total['false_alarm']} of {normal} good parts flagged",
        f"{_named(line)}, with each category's threshold at its largest F1. That threshold is chosen on these very "
        "images (an oracle), so in use it would be worse.",
    )


def _references(store: Store, one: Comparison, board: pd.DataFrame) -> Answer | None:
    """What reference images change, for the best method that was measured with and without them."""
    if one.shots[0] == one.shots[-1]:
        return None
    fewest, most = one.shots[0], one.shots[-1]
    before = {(line.method, line.preset): line for line in one.lines(fewest)}
    after = {(line.method, line.preset): line for line in one.lines(most)}
    for row in _ranked(board, IMAGE_METRIC, most).to_dict("records"):
        key = (row["method"], row["preset"])
        gap = difference(store, after[key], before[key], IMAGE_METRIC) if key in before else None
        if gap is not None:
            verdict = "a clear change" if gap.clear else "not a clear change"
            return Answer(
                f"What do {most} reference images bring?",
                f"{100 * gap.difference:+.1f} points of image AUROC",
                f"{after[key].title} with {most} against {fewest} references, over {gap.categories} categories: "
                f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f} points, {verdict}. "
                f"{len(after[key].runs)} draw(s) of references.",
            )
    return None


def _speed(one: Comparison) -> Answer | None:
    costs = cost_table(one.lines()).dropna(subset="latency_ms").sort_values("latency_ms")
    if costs.empty:
        return None
    if costs["hardware_id"].nunique() > 1:
        return Answer("Which is fastest?", "No answer", "The runs come from different machines and are not comparable.")
    row = costs.iloc[0]
    how = "as its share of a batch that other methods used too" if row["shared"] else "one image at a time"
    return Answer(
        "Which is fastest?",
        f"{row['title']}, {row['latency_ms']:.0f} ms per image",
        f"Median, {how}; {row['processor']}, {row['precision']}. Slowest: {costs.iloc[-1]['title']}, "
        f"{costs.iloc[-1]['latency_ms']:.0f} ms.",
    )


def difference(store: Store, first: Line, second: Line, metric: str) -> Lead | None:
    """How far one line is ahead of another over the categories both have, with its interval."""
    frames = [cells(store, [line], metric).assign(line=name) for line, name in ((first, "first"), (second, "second"))]
    return lead(pd.concat(frames, ignore_index=True), "first", "second")


def _ranked(board: pd.DataFrame, metric: str, shots: int | None) -> pd.DataFrame:
    rows = board[(board["metric"] == metric) & board["value"].notna()]
    if shots is not None:
        rows = rows[rows["shots"] == shots]
    return rows.sort_values(["value", "title"], ascending=[False, True])


def _named(line: Line) -> str:
    return line.title if line.shots == 0 else f"{line.title} with {line.shots} references"


def _imported(data: Mapping[str, object]) -> bool:
    return isinstance(data.get("imported"), Mapping)


__all__: Sequence[str] = ["Answer", "answers", "best_line", "caveats", "difference"]
