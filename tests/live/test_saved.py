"""Saved demos read back: pictures, records of other forms, damage."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.figures.overlay import encode
from vlmad_core.live.saved import IMAGE_FILE, SavedMethod, overlay_file, read_saved, saved_picture
from vlmad_core.store.annotations import save_demo
from vlmad_core.store.reader import Missing

PICTURE = encode(np.full((8, 8, 3), 90, np.uint8))


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    methods = [
        {"method": "winclip:own-12ab", "title": "WinCLIP", "verdict": "normal", "score": 0.25, "threshold": None},
        {"method": "clip_ac:canonical", "title": "CLIP-AC", "verdict": "failed", "score": None},
    ]
    content = {
        "images": [{"name": "a.png", "methods": methods}],
        "setup": {"backbone": {"title": "Tiny"}},
        "category": "nut",
        "note": "look",
        "known": "The data set says: normal.",
        "scale": "raw",
    }
    saved = read_saved(save_demo(tmp_path, "A nut", content, {}))
    assert (saved.category, saved.image, saved.backbone, saved.note, saved.scale) == (
        "nut", "a.png", "Tiny", "look", "raw",
    )  # fmt: skip
    assert saved.methods == (
        SavedMethod("winclip:own-12ab", "WinCLIP", "normal", 0.25, None),
        SavedMethod("clip_ac:canonical", "CLIP-AC", "failed", None, None),
    )


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"images": 3, "setup": [], "note": 7, "category": None},
        {"images": []},
        {"images": [[]]},
        {"images": [{"methods": {"a": 1}}]},
        {"images": [{"name": {}, "methods": [0, None, "x", {}]}]},
    ],
)
def test_a_record_of_another_form_is_empty_and_no_error(tmp_path: Path, content: dict) -> None:
    saved = read_saved(save_demo(tmp_path, "odd", content, {}))
    assert (saved.category, saved.image, saved.note) == ("", "", "")
    assert all(one.score is None and one.method_id == "" for one in saved.methods)


def test_numbers_are_numbers(tmp_path: Path) -> None:
    method = {"method": "m", "score": True, "threshold": {"value": "0.5"}}
    (one,) = read_saved(save_demo(tmp_path, "odd", {"images": [{"methods": [method]}]}, {})).methods
    assert (one.score, one.threshold, one.title) == (None, None, "m")


def test_pictures_are_checked_before_they_are_shown(tmp_path: Path) -> None:
    other = io.BytesIO()
    Image.new("RGB", (4, 4)).save(other, "PNG")
    files = {IMAGE_FILE: PICTURE, "cut.webp": PICTURE[:20], "other.webp": other.getvalue(), "gone.webp": PICTURE}
    demo = save_demo(tmp_path, "A nut", {}, files)
    (demo.path / "gone.webp").unlink()
    assert saved_picture(demo, IMAGE_FILE) == PICTURE
    for name in ("cut.webp", "other.webp", "gone.webp"):
        found = saved_picture(demo, name)
        assert isinstance(found, Missing), name
        assert "damaged or gone" in found.reason
    none = saved_picture(demo, overlay_file("winclip:canonical"))
    assert none == Missing("No picture was saved.")
