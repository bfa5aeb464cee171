from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import Comparison, Entry, cells, differences_to, with_means
from vlmad_core.analysis.verdicts import confusion, counts, image_thresholds, judge, ranked
from vlmad_core.store.reader import Store, open_store


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("store")
    made_up_store(
        path,
        categories=("bolt", "felt", "tile"),
        shots=(0, 1),
        seeds=2,
        without_masks=("felt",),
        unfinished=(("winclip", "tile"),),
    )
    return open_store(path)


def test_runs_are_grouped_by_what_may_be_ranked_together(store: Store, made_up_store, tmp_path: Path) -> None:
    (one,) = comparisons(store)
    assert one.dataset == "widgets"
    assert one.categories == ("bolt", "felt", "tile")
    assert one.shots == (0, 1)
    assert [(line.id, line.shots, len(line.runs)) for line in one.entries()] == [
        ("clip_ac", 0, 1),
        ("winclip", 0, 1),
        ("winclip", 1, 2),
    ]
    made_up_store(tmp_path, methods=("clip_ac",), mode="as_published")
    made_up_store(tmp_path, methods=("clip_ac", "winclip"))
    groups = comparisons(open_store(tmp_path))
    assert [group.mode for group in groups] == ["matched", "as_published"]  # most methods first
    assert [line.id for line in groups[0].entries()] == ["clip_ac", "winclip"]


def test_a_store_without_units_has_nothing_to_compare(tmp_path: Path) -> None:
    assert comparisons(open_store(tmp_path)) == ()


def test_cells_name_every_pair_and_blanks_have_reasons(store: Store) -> None:
    (one,) = comparisons(store)
    frame = cells(store, one.entries(0), "pixel_auroc").set_index(["category", "line"])
    assert len(frame) == 6
    stored = store.metrics()
    chosen = stored[
        (stored["method"] == "winclip") & (stored["category"] == "bolt") & (stored["metric"] == "pixel_auroc")
    ]
    chosen = chosen[(chosen["eval_size"] == 256) & (chosen["shots"] == 0)]
    assert frame.loc[("bolt", "winclip"), "value"] == chosen["value"].item()
    assert frame.loc[("felt", "winclip"), "reason"] == "The category has no masks."
    assert "makes no anomaly map" in frame.loc[("bolt", "clip_ac"), "reason"]
    assert frame.loc[("tile", "winclip"), "reason"] == "WinCLIP has no finished result for this category."


def test_cells_average_over_seeds(store: Store) -> None:
    (one,) = comparisons(store)
    frame = cells(store, one.entries(1), "image_auroc").set_index("category")
    stored = store.metrics()
    seeds = stored[(stored["shots"] == 1) & (stored["metric"] == "image_auroc") & (stored["category"] == "bolt")]
    assert len(seeds) == 2
    assert frame.loc["bolt", "value"] == pytest.approx(seeds["value"].mean())
    assert frame.loc["bolt", "n_seeds"] == 2


def test_differences_and_means_keep_blanks(store: Store) -> None:
    (one,) = comparisons(store)
    frame = cells(store, one.entries(0), "image_auroc")
    change = differences_to(frame, "winclip").set_index(["category", "line"])
    plain = frame.set_index(["category", "line"])["value"]
    expected = plain["bolt", "clip_ac"] - plain["bolt", "winclip"]
    assert change.loc[("bolt", "clip_ac"), "value"] == pytest.approx(expected)
    assert math.isnan(change.loc[("tile", "clip_ac"), "value"])
    assert "compared with" in change.loc[("tile", "clip_ac"), "reason"]
    means = with_means(frame).iloc[:2].set_index("line")
    assert means.loc["clip_ac", "value"] == pytest.approx(plain[:, "clip_ac"].mean())
    assert math.isnan(means.loc["winclip", "value"])


def images() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d", "e", "f"],
            "split": ["test"] * 5 + ["train"],
            "label": [0, 0, 1, 1, 1, 0],
            "score": [0.1, 0.6, 0.5, 0.2, np.nan, 0.9],
        }
    )


def test_judging_at_the_threshold_itself_is_anomalous() -> None:
    judged = judge(images(), 0.5).set_index("image_id")
    assert judged["verdict"].to_dict() == {"a": "passed", "b": "false_alarm", "c": "found", "d": "missed"}
    assert counts(judged) == {"missed": 1, "false_alarm": 1, "found": 1, "passed": 1}
    assert judged.loc["d", "margin"] == pytest.approx(-0.3)


def test_clearest_mistake_first() -> None:
    judged = judge(images(), 0.55)
    assert ranked(judged, ["missed"])["image_id"].tolist() == ["d", "c"]
    assert ranked(judged, ["missed", "false_alarm"])["rank"].tolist() == [1, 2, 3]
    assert ranked(judged, []).empty


def test_confusion_counts_by_truth() -> None:
    table = confusion({"missed": 1, "found": 2, "false_alarm": 3, "passed": 4})
    assert table.loc["Defective"].tolist() == [1, 2]
    assert table.loc["Normal"].tolist() == [4, 3]


def test_thresholds_say_where_they_come_from(store: Store) -> None:
    (one,) = comparisons(store)
    run = one.entries(0)[0].runs[0]
    found = image_thresholds(run, "bolt", store.images(run.id, "bolt"))
    assert list(found) == ["image_f1max", "normal_05", "normal_10"]
    assert found["image_f1max"].value == 0.5
    assert found["image_f1max"].oracle
    normal = store.images(run.id, "bolt").query("label == 0")["score"]
    assert (normal >= found["normal_05"].value).mean() <= 0.05
    assert "normal test images" in found["normal_05"].origin


def test_line_ids_leave_the_canonical_preset_out() -> None:
    assert Entry("winclip", "canonical", 0, "WinCLIP", ()).id == "winclip"
    assert Entry("winclip", "accurate", 0, "WinCLIP", ()).id == "winclip:accurate"


def test_the_same_weights_under_two_names_are_one_competitor(store: Store) -> None:
    (one,) = comparisons(store)
    run = one.entries(0)[0].runs[0]
    again = replace(run, id="again", units=dict(list(run.units.items())[:1]))
    both = Comparison(one.dataset, one.conditions, (again, run))
    (line,) = both.entries()
    assert line.runs == (run,)  # the fuller one
