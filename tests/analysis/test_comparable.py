from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.analysis.claims import Claims
from vlmad_core.analysis.comparable import Comparability, comparable, comparisons, conditions_of
from vlmad_core.analysis.entries import Entry, entries_of
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import RunRecord


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two CLIP models and a vision-only reference on one data set, and the reference alone on another."""
    path = tmp_path_factory.mktemp("store")
    for backbone in ("bundled", "other"):
        made_up_store(path, methods=("clip_ac", "winclip"), shots=(0, 1), backbone=backbone, thumbnails=False)
    for dataset in ("widgets", "gadgets"):
        made_up_store(
            path, datasets=(dataset,), methods=("teacher_memory",), shots=(1,), backbone="teacher", thumbnails=False
        )
    return open_store(path)


def test_a_vision_only_reference_is_in_every_comparison_of_its_data_set(store: Store) -> None:
    found = {(one.dataset, one.backbone["id"]): one for one in comparisons(store)}
    assert set(found) == {("widgets", "bundled"), ("widgets", "other"), ("gadgets", "teacher")}
    for one in found.values():
        assert "teacher_memory" in {line.method for line in one.entries()}
        assert one.runs[-1].key.backbone == "teacher", "the first run speaks for the comparison"
    assert {run.key.backbone for run in found["widgets", "bundled"].runs} == {"bundled", "teacher"}


def test_the_leaderboard_ranks_it_beside_each_backbone(store: Store) -> None:
    board = leaderboard(store, ["image_auroc"], dataset="widgets")
    for one in comparisons(store, "widgets"):
        rows = board[board["conditions"] == one.conditions]
        assert sorted(rows["method"]) == ["clip_ac", "teacher_memory", "winclip", "winclip"]
        assert set(rows["backbone"]) == {one.backbone["id"], "teacher"}
        assert sorted(rows["rank"]) == [1, 2, 3, 4]
    assert not board.loc[board["method"] == "teacher_memory", "value"].isna().any()


def test_which_runs_are_ranked_together(store: Store) -> None:
    runs = {(run.key.dataset, run.key.method, run.key.shots, run.key.backbone): run for run in store.runs}
    ours, theirs = (runs["widgets", "winclip", 1, name] for name in ("bundled", "other"))
    guest, alone = (runs[name, "teacher_memory", 1, "teacher"] for name in ("widgets", "gadgets"))

    def together(*some: RunRecord) -> Comparability:
        return comparable([entry for run in some for entry in entries_of([run])])

    assert not together(ours, theirs)
    assert "backbone" in together(ours, theirs).reasons[0]
    assert together(ours, runs["widgets", "clip_ac", 0, "bundled"])
    assert together(ours, guest)
    assert together(guest, theirs)
    assert "gadgets, widgets" in together(ours, alone).reasons[0]
    places = conditions_of(store.runs)
    assert places[ours.id] == (ours.protocol.conditions,)
    assert set(places[guest.id]) == {ours.protocol.conditions, theirs.protocol.conditions}
    assert places[alone.id] == (alone.protocol.conditions,)


def test_another_reading_of_the_images_keeps_it_out(store: Store, made_up_store, tmp_path: Path) -> None:
    made_up_store(tmp_path, methods=("winclip",), mode="as_published", thumbnails=False)
    made_up_store(tmp_path, methods=("teacher_memory",), shots=(1,), backbone="teacher", thumbnails=False)
    assert [len(one.entries()) for one in comparisons(open_store(tmp_path))] == [1, 1]


def test_reported_numbers_are_never_ranked_with_measured_ones(store: Store) -> None:
    measured = next(one for one in comparisons(store, "widgets")).entries()
    claims = Claims({}, "none", contaminated=False)
    reported = Entry("winclip", "canonical", 0, "WinCLIP", evidence="reported", protocol="0" * 8, claims=claims)
    assert comparable(measured)
    assert comparable([reported])
    assert "Reported numbers" in comparable([*measured, reported]).reasons[0]
