"""A small store of real runs, to damage copies of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vlmad_core.store import layout

BUNDLED = Path(__file__).parents[2] / "results" / "bundled" / "bundled_a"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real runs of two categories: one that was trained, two with references and explanations."""
    root = tmp_path_factory.mktemp("hostile") / "store"
    for name in ("clip_cpe-canonical-0shot", "april_gan-canonical-4shot-seed0", "winclip-canonical-4shot-seed0"):
        run = next(BUNDLED.glob(f"{name}*"))
        target = root / "bundled_a" / run.name
        target.mkdir(parents=True)
        shutil.copy(run / layout.RUN_FILE, target)
        for category in ("capsule", "wood"):
            shutil.copytree(run / category, target / category)
    return root
