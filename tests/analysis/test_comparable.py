from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vlmad_core.analysis.claims import Claims
from vlmad_core.analysis.comparable import Comparability, comparable, comparisons, conditions_of, imported_beside
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


def as_imported(run: RunRecord, **changes: dict[str, object]) -> RunRecord:
    """A run as if another program had made its scores, with other parts of its protocol."""
    own = run.protocol
    parts = {name: {**getattr(own, name), **more} for name, more in changes.items()}
    method = {**own.method, "name": "theirs", "imported": {"origin": "a lab"}}
    protocol = replace(own, mode="as_published", method=method, backbone={"id": "unknown"}, **parts)
    return replace(run, id=f"{run.id}-theirs", key=replace(run.key, method="theirs"), protocol=protocol)


def test_an_imported_run_is_a_guest_of_every_comparison_of_its_data_set(store: Store) -> None:
    runs = [run for run in store.runs if run.key.dataset == "widgets"]
    guest = as_imported(runs[0])
    found = comparisons(Store(store.roots, (guest, *runs)), "widgets")
    assert [one.imported for one in found] == [False, False]
    for one in found:
        assert one.runs[-1] is guest
        assert one.entries(guest.key.shots)[-1].evidence == "imported"
        assert one.entries(guest.key.shots)[-1].title.endswith("(imported)")
        assert [bool(fair) for fair in imported_beside(one).values()] == [True]
    (alone,) = comparisons(Store(store.roots, (guest,)))
    assert alone.imported
    assert imported_beside(alone) == {}
    own = replace(
        guest, protocol=replace(runs[0].protocol, method=guest.protocol.method)
    )  # its conditions were declared
    places = [one for one in comparisons(Store(store.roots, (own, *runs)), "widgets") if own in one.runs]
    assert [one.conditions for one in places] == [runs[0].protocol.conditions]


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("data", {"listing": "f" * 16}, "the images or how they are split"),
        ("data", {"size": "smoke"}, r"how many of the test images were judged \((full and smoke|smoke and full)\)"),
        ("evaluation", {"map_size": 512}, r"the size of the maps \((256 and 512|512 and 256) pixels\)"),
        ("reading", {"mask": "another rule"}, "how masks are read"),
    ],
)
def test_why_an_imported_run_is_not_ranked(store: Store, part: str, change: dict[str, object], reason: str) -> None:
    run = next(run for run in store.runs if run.key.dataset == "widgets")
    pair = [*entries_of([run]), *entries_of([as_imported(run, **{part: change})])]
    for order in (pair, pair[::-1]):
        fair = comparable(order)
        assert not fair
        assert re.search(reason, fair.reasons[0])


def test_a_run_of_this_program_from_another_machine_is_measured(store: Store) -> None:
    run = store.runs[0]
    provenance = replace(run.provenance, data={**run.provenance.data, "imported": {"origin": "the machine next door"}})
    (entry,) = entries_of([replace(run, provenance=provenance)])
    assert entry.evidence == "measured"
