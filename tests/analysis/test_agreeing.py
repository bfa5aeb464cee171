"""The bundled results: every view says the same of the same pair, and the README's intervals are the statistics'."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlmad_core.analysis.answers import IMAGE_METRIC, PIXEL_METRIC, answers
from vlmad_core.analysis.best import best, differences_between
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import Comparison, cells
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.statistics import DESIGNS, INTERVAL_NAMES, OVER_CATEGORIES, OVER_IMAGES, mean_interval
from vlmad_core.analysis.study.answers import answers as study_answers
from vlmad_core.analysis.study.answers import study_comparisons
from vlmad_core.store.reader import Store, open_store

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "results" / "bundled"
SETS = ("bundled_a", "bundled_b")


@pytest.fixture(scope="module")
def store() -> Store:
    return open_store(BUNDLED)


def comparison(store: Store, dataset: str) -> Comparison:
    return comparisons(store, dataset)[0]


@pytest.mark.parametrize("dataset", SETS)
def test_the_report_says_of_the_first_two_what_the_leaderboard_says(store: Store, dataset: str) -> None:
    one = comparison(store, dataset)
    board = leaderboard(store, dataset=dataset)
    said = {answer.question: answer for answer in answers(store, one, board)}
    for metric, task in ((IMAGE_METRIC, "tells defective parts from good ones"), (PIXEL_METRIC, "shows where")):
        first = best(one, board, metric, shots=0)
        assert first is not None
        assert first.runner_up is not None
        assert first.entry.seen != "yes"
        answer = said[f"Which method best {task}, without reference images?"]
        assert answer.headline == f"{first.entry.title}, {100 * first.value:.1f}%"
        for design in DESIGNS:
            gaps = differences_between(store, one.entries(0), metric, one.categories, design=design)
            gap = gaps.between(first.entry.key, first.runner_up.key)
            if gap is None:  # a pixel metric of a run that keeps neither replicates nor maps
                assert (design, metric) == (OVER_IMAGES, PIXEL_METRIC)
                assert "can't be compared" in gaps.note
                continue
            assert f"{design} {'a clear lead' if gap.ahead else 'not a clear difference'}" in answer.detail


@pytest.mark.parametrize("dataset", SETS)
def test_the_study_says_of_a_pair_what_the_leaderboard_says(dataset: str) -> None:
    store, found = study_comparisons([BUNDLED])
    one = next(one for one in found if one.dataset == dataset)
    entries = {tuple(run.id for run in entry.runs): entry for entry in one.entries()}
    checked = dict.fromkeys(DESIGNS, 0)
    for finding in (finding for answer in study_answers(store, one) for finding in answer.findings):
        base = next((figures for figures in finding.figures if figures.gain is None), None)
        if finding.kind != "contrast" or base is None:
            continue
        for design in DESIGNS:
            gains = {f.run_ids: f.gain_here if design == OVER_IMAGES else f.gain for f in finding.figures}
            rivals = {runs: gain for runs, gain in gains.items() if gain is not None and gain.p is not None}
            compared = [entries[runs] for runs in (base.run_ids, *rivals)]
            pairs = [(place, 0) for place in range(1, len(compared))]
            gaps = differences_between(store, compared, finding.metric, one.categories, design=design, pairs=pairs)
            for gain, entry in zip(rivals.values(), compared[1:], strict=True):
                gap = gaps.between(entry.key, compared[0].key)
                assert gap is not None
                assert gain.clear == gap.clear
                ends = [(g.value, g.low, g.high, g.p_corrected) for g in (gain, gap)]
                assert ends[0] == pytest.approx(ends[1])
                checked[design] += 1
    assert checked[OVER_CATEGORIES] >= 20
    assert checked[OVER_IMAGES] >= 8


def test_the_readmes_intervals_are_those_of_the_statistics(store: Store) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[95 % interval, {INTERVAL_NAMES[OVER_CATEGORIES]}]" in " ".join(text.split())
    rows = re.findall(r"^\| ([^|]+?)(?:, (\d+) shots?)? \|((?: [^|]+\|){4})$", text, re.MULTILINE)
    rows = [row for row in rows if re.search(r"\d \[\d", row[2])]
    assert len(rows) == 14
    for title, shots, numbers in rows:
        shown = [cell.strip() for cell in numbers.strip("|").split("|")]
        columns = [(dataset, metric) for dataset in SETS for metric in (IMAGE_METRIC, "pixel_auroc")]
        for cell, (dataset, metric) in zip(shown, columns, strict=True):
            entries = comparison(store, dataset).entries(int(shots or 0))
            (entry,) = (entry for entry in entries if entry.title == title)
            values = cells(store, [entry], metric)["value"]
            mean = mean_interval(values.tolist())
            expected = (
                "–" if values.isna().any() else f"{100 * mean.value:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
            )
            assert cell == expected, (title, shots, dataset, metric)
