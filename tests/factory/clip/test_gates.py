from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlmad_core.factory.clip import gates
from vlmad_core.factory.clip.gates import PAIR_SIZE, build_bank


def test_a_bank_is_rendered_once_and_depends_on_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers are forked, so they see this too.
    monkeypatch.setattr(gates, "SHARD", 12)
    first = build_bank(tmp_path, 12, seed=1, workers=1)
    assert len(first) == 12
    assert first.images.shape == (12, 2, PAIR_SIZE, PAIR_SIZE, 3)
    shard = next(tmp_path.rglob("*.npz"))
    written = shard.stat().st_mtime_ns
    again = build_bank(tmp_path, 12, seed=1, workers=1)
    assert shard.stat().st_mtime_ns == written
    assert again.content_hash == first.content_hash
    elsewhere = build_bank(tmp_path / "other", 12, seed=1, workers=2)
    assert elsewhere.content_hash == first.content_hash
    assert build_bank(tmp_path, 12, seed=2, workers=1).content_hash != first.content_hash
    assert first.masks.reshape(12, -1).any(axis=1).all()
    assert not torch.equal(torch.from_numpy(first.images[:, 0]), torch.from_numpy(first.images[:, 1]))
