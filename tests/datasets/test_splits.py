from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmad_core.datasets.sample import Sample, Split
from vlmad_core.datasets.splits import draw_references
from vlmad_core.errors import DatasetError


def sample(name: str, split: Split = "train", label: int = 0) -> Sample:
    kind = "x" if label else "good"
    return Sample(name, "d", "gear", split, Path(name), None, 1 if label else 0, kind)


POOL = [sample(f"gear/train/good/{number:03}.png") for number in range(20)]


@settings(max_examples=50, deadline=None)
@given(st.permutations(POOL), st.integers(0, 20), st.integers(0, 2**31))
def test_draws_nest_and_do_not_depend_on_order(shuffled: list[Sample], shots: int, seed: int) -> None:
    drawn = draw_references(shuffled, shots, seed)
    assert len(drawn) == len(set(drawn)) == shots
    assert drawn == draw_references(POOL, 20, seed)[:shots]


def test_seeds_differ_and_every_image_can_be_drawn() -> None:
    first = {draw_references(POOL, 1, seed)[0].id for seed in range(200)}
    assert first == {entry.id for entry in POOL}


def test_draw_is_the_same_on_every_machine() -> None:
    # printf 'references\n0\ngear/train/good/003.png' | sha256sum, and so on, sorted.
    names = [entry.id for entry in draw_references(POOL, 3, 0)]
    assert names == [f"gear/train/good/{number}.png" for number in ("003", "005", "010")]


def test_only_normal_training_images_are_drawn() -> None:
    mixed = [*POOL[:2], sample("gear/test/good/0.png", "test"), sample("gear/train/x/0.png", "train", 1)]
    assert set(draw_references(mixed, 2, 0)) == set(POOL[:2])


def test_more_shots_than_images_says_how_many_there_are() -> None:
    with pytest.raises(DatasetError, match="gear has 20 normal training images") as caught:
        draw_references(POOL, 21, 0)
    assert "at most 20" in caught.value.fix
    with pytest.raises(DatasetError, match="-1 shots"):
        draw_references(POOL, -1, 0)
