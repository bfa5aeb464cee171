from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vlmad_core.factory.renderer import materials, objects
from vlmad_core.factory.renderer.defects import ALL_DEFECTS, TRAINING_DEFECTS
from vlmad_core.factory.renderer.domains import DOMAINS
from vlmad_core.factory.renderer.fields import make_frame
from vlmad_core.factory.renderer.inventions import STRUCTURAL_FAULTS, Fault, invented_part, invented_texture
from vlmad_core.factory.renderer.pairs import DEFECT_PHRASES, SPLITS, TRAINING_NOUNS, TrainingPair, render_pair

VALIDATION_NOUNS = {*SPLITS["validation"].materials, *SPLITS["validation"].objects}


def digest(pair: TrainingPair) -> str:
    return hashlib.sha256(pair.normal.tobytes() + pair.abnormal.tobytes() + pair.mask.tobytes()).hexdigest()


def test_a_pair_depends_on_its_number_only() -> None:
    forward = [digest(render_pair(5, index, 64)) for index in (0, 1, 2)]
    backward = [digest(render_pair(5, index, 64)) for index in (2, 1, 0)]
    assert forward == backward[::-1]
    assert len(set(forward)) == 3
    assert digest(render_pair(6, 0, 64)) != forward[0]
    assert digest(render_pair(5, 0, 64, split="validation")) != forward[0]


@pytest.mark.parametrize("index", range(12))
def test_the_mask_is_where_the_pair_differs(index: int) -> None:
    pair = render_pair(1, index, 96)
    assert pair.normal.shape == pair.abnormal.shape == (96, 96, 3)
    assert pair.normal.dtype == pair.abnormal.dtype == np.uint8
    assert 0.001 <= pair.mask.mean() <= 0.25
    change = np.abs(pair.normal.astype(float) - pair.abnormal.astype(float)).max(-1)
    # Outside the mask only the sensor's noise differs.
    assert change[pair.mask].mean() > change[~pair.mask].mean() + 8


def test_words() -> None:
    seen = [render_pair(2, index, 48) for index in range(30)]
    assert {pair.noun for pair in seen} <= set(TRAINING_NOUNS)
    assert {pair.defect for pair in seen} <= set(TRAINING_DEFECTS)
    assert len({pair.noun for pair in seen}) > 8
    held_out = [render_pair(2, index, 48, split="validation") for index in range(10)]
    assert {pair.noun for pair in held_out} <= VALIDATION_NOUNS
    assert {*ALL_DEFECTS, *STRUCTURAL_FAULTS} == set(DEFECT_PHRASES)
    assert all(DEFECT_PHRASES[defect] for defect in ALL_DEFECTS)


def test_training_validation_and_bundled_categories_are_disjoint() -> None:
    bundled = {category.name.replace("_", " ") for domain in DOMAINS.values() for category in domain.categories}
    assert not set(TRAINING_NOUNS) & VALIDATION_NOUNS
    assert not bundled & {*TRAINING_NOUNS, *VALIDATION_NOUNS}
    trained = {*materials.TRAINING_MATERIALS.values(), *objects.TRAINING_OBJECTS.values()}
    builders = {c.texture or c.item for domain in DOMAINS.values() for c in domain.categories}
    assert not trained & builders
    assert len(materials.TRAINING_MATERIALS) == 17
    assert len(objects.TRAINING_OBJECTS) == 10
    assert len(TRAINING_DEFECTS) == 11


def test_inventions_are_nothing_in_particular_and_none_is_like_another() -> None:
    pairs = [render_pair(2, index, 64, split="invented") for index in range(40)]
    assert {pair.noun for pair in pairs} == {"part", "textured surface"}
    assert {pair.defect for pair in pairs} <= {*ALL_DEFECTS, *STRUCTURAL_FAULTS}
    assert len({pair.defect for pair in pairs}) > 10
    colours = np.array([pair.normal.reshape(-1, 3).mean(0) for pair in pairs])
    nearest = np.sort(np.abs(colours[:, None] - colours[None]).max(-1), axis=1)[:, 1]
    assert float(np.median(nearest)) > 3
    assert digest(pairs[3]) == digest(render_pair(2, 3, 64, split="invented"))


@pytest.mark.parametrize("kind", STRUCTURAL_FAULTS)
@pytest.mark.parametrize("build", [invented_texture, invented_part])
def test_a_structural_fault_changes_a_few_elements_and_nothing_else(kind: str, build: Callable[..., Any]) -> None:
    frame = make_frame(64)

    def colours(seed: int, fault: Fault | None = None) -> Any:
        rng = np.random.default_rng(seed)
        made = build(rng, rng, frame, fault)
        surface = made[0] if isinstance(made, tuple) else made
        return surface.albedo, int(rng.integers(1 << 30))

    shares = []
    for seed in range(25):
        (plain, after), (faulty, after_fault) = (
            colours(seed),
            colours(seed, Fault(kind, np.random.default_rng(seed))),
        )
        assert after == after_fault
        shares.append(float((np.abs(plain - faulty).max(-1) > 0.05).mean()))
    changed = [share for share in shares if share]
    assert len(changed) >= 4
    assert max(changed) < 0.35


def test_one_of_too_few_elements_is_never_missing() -> None:
    column = np.repeat(np.arange(8.0)[None], 8, axis=0)
    fault = Fault("missing_part", np.random.default_rng(0))
    assert not fault.of(column < 4, column).any()
    gone = fault.of(column < 6, column)
    assert gone.sum() == 8
    assert len(set(column[gone])) == 1
    assert column[gone][0] < 6
