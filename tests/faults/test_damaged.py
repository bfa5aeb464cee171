"""Random damage to every kind of file: what is read is what was written, or a problem in words; no page breaks."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kinds import KINDS, Kind, Place, copied, furnish
from tests.mutations import mutated

CASES, SHORT = 40, 2
"""Cases of each kind in a full run, and in the short form."""

PAGES = ("failures", "runs", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "study")
"""Pages that are opened on a damaged store, one after the other in turn."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, forks: Any, widgets: Path, tiny_clip: Path) -> Place:
    """A place with one of everything, undamaged."""
    return furnish(Place(tmp_path_factory.mktemp("places") / "whole", tiny_clip), forks, widgets)


def damage(kind: Kind, place: Place, rng: random.Random) -> str:
    """Damage a file of a kind, every second time by a single bit; gives what was done, so that it can be done again."""
    file = rng.choice(sorted(path for path in place.root.glob(kind.files) if path.is_file()))
    content, seed = file.read_bytes(), rng.randrange(10**9)
    if content and rng.random() < 0.5:
        bit = seed % (8 * len(content))
        changed, how = bytearray(content), f"bit {bit} flipped"
        changed[bit // 8] ^= 1 << bit % 8
    else:
        changed, how = bytearray(mutated(content, seed)), f"mutated(content, {seed})"
    if changed == content:  # e.g. equal blocks that were swapped
        changed, how = bytearray(b"x" + content), "a letter before it"
    file.unlink()  # its content is shared with the whole place
    file.write_bytes(changed)
    return f"{file.relative_to(place.root)}, {how}"


@pytest.mark.parametrize("count", [SHORT, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_damage_is_noticed_or_does_no_harm(
    name: str, count: int, whole: Place, tmp_path: Path, rng: random.Random, look: Any, cases_of: Callable[[str], Any]
) -> None:
    kind = KINDS[name]
    with cases_of(f"damage to {name}") as cases:
        for number in range(count):
            place = copied(whole, tmp_path / str(number))
            what = damage(kind, place, rng)
            with cases.case(what):
                kind.hold(place, whole)
                if kind.pages and number % 5 == 0:
                    look(PAGES[(number // 5 + len(name)) % len(PAGES) :][:1])(place.store)
            shutil.rmtree(place.root)
