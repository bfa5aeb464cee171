"""What is said of maps before any is computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlmad_core.analysis.kept import MOST_NORMALS, expected_seconds, makes_maps, scale_images, why_not_again
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import RunRecord


@pytest.fixture
def store(made_up_store, tmp_path: Path) -> Store:
    return open_store(made_up_store(tmp_path, shots=(0, 2), images=40, without_masks=("felt",)))


@pytest.fixture
def run(store: Store) -> RunRecord:
    return next(run for run in store.runs if run.key.method == "winclip" and run.key.shots == 0)


def changed(run: RunRecord, part: str, **values: object) -> RunRecord:
    own = getattr(run.protocol, part)
    return dataclasses.replace(run, protocol=dataclasses.replace(run.protocol, **{part: {**own, **values}}))


def test_a_method_makes_maps_whether_they_were_kept_or_not(store: Store, run: RunRecord) -> None:
    without = next(run for run in store.runs if run.key.method == "clip_ac")
    for category in ("bolt", "felt"):
        assert makes_maps(store, run.id, category)
        (run.path / category / "grids.npz").unlink()
        unit = run.units[category]
        files = {name: file for name, file in unit.files.items() if name != "grids.npz"}
        lost = dataclasses.replace(run, units={category: dataclasses.replace(unit, files=files)})
        assert makes_maps(Store(store.roots, [lost]), run.id, category)
    assert not makes_maps(store, without.id, "bolt")


def test_every_reason_not_to_ask_again_is_named(run: RunRecord) -> None:
    assert why_not_again(run, "bolt", at_hand=True) is None
    assert "not on this machine" in str(why_not_again(run, "bolt", at_hand=False))
    assert "not finished" in str(why_not_again(run, "nut", at_hand=True))
    assert "all 40 test images together" in str(
        why_not_again(changed(run, "method", transductive=True), "bolt", at_hand=True)
    )
    imported = changed(run, "method", imported={"program": "x"})
    assert "Another program" in str(why_not_again(imported, "bolt", at_hand=True))


def test_what_takes_too_long_is_left_to_a_command(run: RunRecord) -> None:
    assert expected_seconds(run, "bolt") == pytest.approx(0.0125 * (1 + MOST_NORMALS))
    unit = dataclasses.replace(run.units["bolt"], profile={"latency_ms": {"median": 9000.0, "p95": None}})
    slow = dataclasses.replace(run, units={"bolt": unit})
    assert "about 81 seconds" in str(why_not_again(slow, "bolt", at_hand=True))
    unknown = dataclasses.replace(run, units={"bolt": dataclasses.replace(unit, profile={})})
    assert why_not_again(unknown, "bolt", at_hand=True) is None


def test_colours_are_compared_with_a_few_normal_images_spread_over_all(store: Store, run: RunRecord) -> None:
    images = store.images(run.id, "bolt")
    picked = scale_images(images)
    assert len(picked) == MOST_NORMALS
    assert picked == scale_images(images.sample(frac=1.0, random_state=0))
    normal = images.loc[images["label"] == 0, "image_id"].tolist()
    assert set(picked) <= set(normal)
    assert normal.index(picked[-1]) >= 0.8 * len(normal)
    few = images[images["image_id"].isin(normal[:3])]
    assert len(scale_images(few)) == 3
    assert scale_images(images[images["label"] == 1]) == ()
