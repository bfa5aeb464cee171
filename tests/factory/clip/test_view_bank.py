from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vlmad_core.factory.clip import view_bank
from vlmad_core.factory.clip.model import IMAGE_SIZE, PATCH_SIZE
from vlmad_core.factory.clip.view_bank import GRID, PatchTeacher, ViewBank, build_views


def test_pairs_come_before_what_has_no_captions_in_each_shard(few_views: ViewBank) -> None:
    assert len(few_views) == 8 * 3 + 8 + 4 * 2
    assert few_views.pairs.shape == (12, 2)
    assert len(few_views.nouns) == len(few_views.defects) == 12
    assert few_views.generic == 8
    assert list(few_views.free[:8]) == list(range(8))
    assert sorted([*few_views.pairs.ravel(), *few_views.free]) == list(range(40))
    pictures, counts = few_views.take(few_views.pairs.ravel())
    assert pictures.shape == (24, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert pictures.dtype == torch.uint8
    assert float(counts[0::2].max()) == 0, "the first of each pair has no defect"
    assert float(counts.max()) <= PATCH_SIZE**2
    assert int((counts[1::2].flatten(1).sum(dim=1) > 0).sum()) >= 8, "few zooms miss the defect"
    assert float(few_views.take(few_views.free)[1].max()) == 0


def test_inventions_described_only_come_last_and_have_no_targets(few_views: ViewBank) -> None:
    assert few_views.taught == 8
    rows = few_views.pairs[: few_views.taught].ravel()
    assert few_views.taught_tokens(rows).shape == (16, GRID * GRID, sum(few_views.channels.values()))
    described = few_views.pairs[few_views.taught :]
    assert described.min() > max(rows.max(), few_views.free.max())
    assert set(few_views.nouns[few_views.taught :]) <= {"part", "textured surface"}
    with pytest.raises(IndexError):
        few_views.taught_tokens([int(described[0, 0])])


def test_targets_are_the_teachers_tokens_of_the_same_view(
    few_views: ViewBank, stand_in_teacher: Callable[[], PatchTeacher]
) -> None:
    rows = [0, 3, 30]
    pictures, targets = few_views.take(rows)[0], few_views.taught_tokens(rows)
    for block, found in zip(few_views.channels, targets.split(list(few_views.channels.values()), dim=-1), strict=True):
        norms = found.norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms), atol=2e-2, rtol=0, msg=str(block))
    # The teacher sees the view before it is shrunk; what it sees in the shrunk one must be much the same.
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1)
        for v in (stand_in_teacher().preprocessing.mean, view_bank.Preprocessing(1).std)
    )
    again = torch.cat(
        list(stand_in_teacher().patches((pictures.permute(0, 3, 1, 2) / 255 - mean) / std, GRID).values()), -1
    )
    own = torch.cosine_similarity(again.flatten(1), targets.flatten(1))
    other = torch.cosine_similarity(again.flatten(1), targets.roll(1, 0).flatten(1))
    assert bool((own > other).all())


def test_shards_are_kept_and_the_same_whoever_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_teacher: Callable[[], PatchTeacher]
) -> None:
    monkeypatch.setattr(view_bank, "PAIRS_PER_SHARD", 2)
    monkeypatch.setattr(view_bank, "GENERIC_PER_SHARD", 2)
    first = build_views(tmp_path, 2, 2, 0, 5, stand_in_teacher, "float32", workers=1)
    record = next(tmp_path.rglob("pairs-0000.json"))
    written = record.stat().st_mtime_ns
    done: list[tuple[int, int]] = []
    more = build_views(
        tmp_path, 4, 2, 0, 5, stand_in_teacher, "float32", 1, lambda made, wanted: done.append((made, wanted))
    )
    assert record.stat().st_mtime_ns == written
    assert done == [(3, 3)]
    assert len(more) == len(first) + 6
    again = build_views(tmp_path / "other", 4, 2, 0, 5, stand_in_teacher, "float32", workers=1)
    assert again.content_hash == more.content_hash
    other = build_views(tmp_path / "other", 4, 2, 0, 6, stand_in_teacher, "float32", workers=1)
    assert again.precisions == ("float32",) * 3
    assert other.content_hash != more.content_hash
    assert not np.array_equal(other.pictures[0], again.pictures[0])


def test_each_shard_says_what_the_teacher_computed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_teacher: Callable[[], PatchTeacher]
) -> None:
    monkeypatch.setattr(view_bank, "PAIRS_PER_SHARD", 1)
    monkeypatch.setattr(view_bank, "GENERIC_PER_SHARD", 1)
    build_views(tmp_path, 1, 1, 0, 5, stand_in_teacher, "bfloat16", workers=1)
    grown = build_views(tmp_path, 2, 1, 1, 5, stand_in_teacher, "float32", workers=1)
    assert grown.precisions == ("bfloat16", "bfloat16", "float32")
