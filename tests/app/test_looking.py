"""Your parts: a region and tiles for large photos, and how finely defects are then seen."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.app.test_your_parts import give, photo, said

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def large(number: int) -> bytes:
    """A photo of 300 x 200 pixels; the backbone sees 32."""
    content = io.BytesIO()
    Image.open(io.BytesIO(photo(number))).resize((300, 200)).save(content, "PNG")
    return content.getvalue()


def photos(make) -> dict[str, bytes]:
    """Six good photos and two bad ones."""
    return {f"good/{n}.png": make(n) for n in range(6)} | {f"bad/{n}.png": make(100 + n) for n in range(2)}


def test_tiles_are_offered_for_large_photos_only(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    give(app, photos(photo))
    assert not app.exception
    assert "photos of 24 x 16 pixels" in said(app, "caption")
    assert "plan_tiled" not in [one.key for one in app.toggle]


def test_tiles_and_a_region_go_into_the_plan(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    give(app, photos(large))
    assert not app.exception
    whole = next(one.value for one in app.caption if one.value.startswith("In one piece"))
    app.toggle(key="plan_tiled").set_value(True).run()
    tiled = next(one.value for one in app.caption if one.value.startswith("In tiles"))
    assert "times as much" in tiled
    assert "times as much" not in whole
    left = next(one for one in app.number_input if one.label == "Left")
    left.set_value(50.0).run()
    assert not app.exception
    assert next(one for one in app.number_input if one.label == "Left").value == 50.0
    assert next(one.value for one in app.caption if one.value.startswith("In one piece")) != whole
