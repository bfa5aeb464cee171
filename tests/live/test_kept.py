"""What is kept on disk between two starts: features of prompts and references, and never a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.backbones import ClipBackbone, clip
from vlmad_core.backbones.text import embed_prompts
from vlmad_core.cli import main
from vlmad_core.inference.engine import load_engine
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import LivePrediction, Panel
from vlmad_core.methods.patch_memory import PatchMemoryScorer

METHODS = ["clip_cpe", "winclip", "patch_memory"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLMAD_CACHE_DIR", str(tmp_path))
    return tmp_path / "live"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What passes a tower, as it happens."""
    done: list[str] = []

    def passing(self: ClipBackbone, images, request, clock=None):
        done.append("image")
        return whole(self, images, request, clock)

    def embedding(model, tokens):
        done.append("prompts")
        return embed_prompts(model, tokens)

    whole = ClipBackbone.encode_images
    monkeypatch.setattr(ClipBackbone, "encode_images", passing)
    monkeypatch.setattr(clip, "embed_prompts", embedding)
    return done


@pytest.fixture
def started(tiny_clip: Path, picture):
    """A function that starts anew and judges an image with three references."""

    def start(number: int = 0) -> dict[str, LivePrediction]:
        engine = load_engine(str(tiny_clip))
        members = choose_members(METHODS, engine.info, 3)
        panel = Panel(engine, "nut", members, [picture(one) for one in (1, 2, 3)])
        return {found.method_id: found for found in panel.judge(picture(number, defect=True))}

    return start


def same(first: dict[str, LivePrediction], second: dict[str, LivePrediction]) -> bool:
    return first.keys() == second.keys() and all(
        one.error is None
        and one.image_score == second[name].image_score
        and np.array_equal(one.anomaly_map, second[name].anomaly_map)
        and one.normals.scores == second[name].normals.scores
        for name, one in first.items()
    )


def test_the_second_start_computes_the_image_alone_and_gives_the_same_bits(place: Path, started, work) -> None:
    first = started()
    assert work.count("prompts") > 0
    once = work.copy()
    work.clear()
    assert same(first, started())
    assert work == ["image", "image"], "the whole image, then its windows"
    assert len(once) > 5
    kept = list(place.glob("*/*/*.safetensors"))
    assert sorted(path.name.partition("-")[0] for path in kept) == ["pixels", "pixels", "pixels", "text"]


def test_damage_is_mended_and_a_folder_that_can_not_be_is_done_without(place: Path, started, work) -> None:
    first = started()
    kept = list(place.glob("*/*/*.safetensors"))
    for path in kept:
        path.write_bytes(path.read_bytes()[:-7])
    work.clear()
    assert same(first, started())
    assert len(work) > 5
    work.clear()
    assert same(first, started())
    assert len(work) == 2
    place.rename(place.with_name("away"))
    place.write_text("a file stands in the way")
    assert same(first, started())


@pytest.mark.parametrize("way", ["variable", "argument"])
def test_nothing_is_kept_where_that_is_said(
    way: str, place: Path, part, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(1).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "--category", "nut", "--method", "clip_ac", "--json"]
    command += ["--backbone", str(tiny_clip), "--store", str(tmp_path / "none")]
    if way == "variable":
        monkeypatch.setenv("VLMAD_CACHE_DIR", "none")
    assert main([*command, *(["--no-cache"] if way == "argument" else [])]) == 0
    assert not place.exists()
    if way == "argument":
        vlmad_core.predict(tmp_path / "a.png", "nut", ["clip_ac"], backbone=str(tiny_clip), stores=[], cache=False)
        assert not place.exists()
        assert main(command) == 0
        assert place.is_dir()


def test_a_method_that_can_leave_no_reference_out_is_made_ready_anew_for_each(started, monkeypatch) -> None:
    known = started()["patch_memory:canonical"].normals
    monkeypatch.setattr(PatchMemoryScorer, "score_left_out", lambda self, references: None)
    again = started()["patch_memory:canonical"].normals
    assert again.scores == pytest.approx(known.scores, abs=1e-6)
    assert torch.allclose(torch.tensor(np.stack(again.maps)), torch.tensor(np.stack(known.maps)), atol=1e-6)
