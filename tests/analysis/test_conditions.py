from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.analysis.aggregate import leaderboard
from vlmad_core.analysis.comparison import comparisons
from vlmad_core.analysis.conditions import ranked_together, shown_under
from vlmad_core.store.reader import Store, open_store


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
        assert "teacher_memory" in {line.method for line in one.lines()}
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
    assert not ranked_together(ours, theirs)
    assert ranked_together(ours, runs["widgets", "clip_ac", 0, "bundled"])
    assert ranked_together(ours, guest)
    assert ranked_together(guest, theirs)
    assert not ranked_together(ours, alone)
    places = shown_under(store.runs)
    assert places[ours.id] == (ours.protocol.conditions,)
    assert set(places[guest.id]) == {ours.protocol.conditions, theirs.protocol.conditions}
    assert places[alone.id] == (alone.protocol.conditions,)


def test_another_reading_of_the_images_keeps_it_out(store: Store, made_up_store, tmp_path: Path) -> None:
    made_up_store(tmp_path, methods=("winclip",), mode="as_published", thumbnails=False)
    made_up_store(tmp_path, methods=("teacher_memory",), shots=(1,), backbone="teacher", thumbnails=False)
    assert [len(one.lines()) for one in comparisons(open_store(tmp_path))] == [1, 1]
