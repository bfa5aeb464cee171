"""Saved demos on the failures page: listed, opened, removed; damaged ones cost themselves only."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.figures.overlay import encode
from vlmad_core.live.saved import IMAGE_FILE, overlay_file
from vlmad_core.store.annotations import Demo, read_demos, save_demo

PICTURE = encode(np.full((64, 64, 3), 90, np.uint8))
METHODS = [
    {"method": "clip_ac:canonical", "title": "CLIP-AC", "verdict": "normal", "score": 0.25, "threshold": None},
    {
        "method": "winclip:own-12ab",
        "title": "WinCLIP",
        "verdict": "anomalous",
        "score": 0.75,
        "threshold": {"value": 0.5},
    },
]
RECORD = {
    "images": [{"name": "part.png", "methods": METHODS}],
    "setup": {"backbone": {"title": "Tiny"}},
    "category": "hex nut",
    "note": "# look <b>again</b>",
    "known": "The data set says: scratch.",
    "scale": "normal",
}


@pytest.fixture
def own(measured: Path, tmp_path: Path) -> Path:
    """A copy of the store that a test may write into."""
    return Path(shutil.copytree(measured, tmp_path / "store", ignore=shutil.ignore_patterns("annotations")))


def save(store: Path, title: str = "A bad nut") -> Demo:
    return save_demo(store, title, RECORD, {IMAGE_FILE: PICTURE, overlay_file("winclip:own-12ab"): PICTURE})


def texts(app) -> str:
    kinds = (app.subheader, app.markdown, app.caption, app.warning, app.info, app.error, app.text)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def pictures(app) -> int:
    return len(app.get("image"))


def test_without_saved_demos_nothing_is_said(open_app, own: Path) -> None:
    app = open_app(own, "failures")
    assert "Saved from the live demo" not in texts(app)


def test_a_saved_demo_is_listed_opened_and_removed(open_app, own: Path) -> None:
    kept, other = save(own), save(own, "Another one")
    app = open_app(own, "failures")
    assert "Saved from the live demo" in texts(app)
    assert "hex nut · part.png · Tiny" not in texts(app)
    listed = pictures(app)
    app.button(key=f"demo-{kept.id}").click().run()
    assert not app.exception
    assert app.query_params["demo"] == kept.id
    said = texts(app)
    assert "hex nut · part.png · Tiny · saved" in said
    assert "# look <b>again</b>" in [one.value for one in app.text]
    assert "The data set says: scratch." in said
    assert "Colours: compared with normal pixels." in said
    assert "**CLIP-AC** :green-badge[normal]  \n:gray[score 0.25]  \n:gray[No picture was saved.]" in said
    assert pictures(app) == listed + 2, "the image and the one map that was saved"
    app.button(key="demo_remove").click().run()
    assert not app.exception
    assert [demo.id for demo in read_demos(own).items] == [other.id]
    assert "demo" not in app.query_params
    assert f"demo-{kept.id}" not in {button.key for button in app.button}
    assert f"demo-{other.id}" in {button.key for button in app.button}


def test_a_link_opens_a_saved_demo_even_without_results(open_app, tmp_path: Path) -> None:
    kept = save(tmp_path)
    app = open_app(tmp_path, "failures", {"demo": kept.id})
    assert not app.exception
    assert "Nothing has been measured yet" in "".join(str(one.proto) for one in app.info)
    assert "hex nut · part.png · Tiny" in texts(app)


@pytest.mark.parametrize("asked", ["0123456789abcdef", "../../x", "<b>x</b>", "x" * 5000])
def test_an_unknown_demo_is_said_and_dropped(open_app, own: Path, asked: str) -> None:
    save(own)
    app = open_app(own, "failures", {"demo": asked})
    assert not app.exception
    assert any("asks for demo" in warning.value for warning in app.warning)
    assert "<b>x" not in texts(app)
    assert "demo" not in app.query_params


def test_a_damaged_demo_costs_itself_only(open_app, own: Path) -> None:
    good, cut, torn = save(own), save(own, "Cut"), save(own, "Torn")
    (cut.path / "demo.json").write_text("{ half")
    (torn.path / IMAGE_FILE).write_bytes(PICTURE[:30])
    (torn.path / overlay_file("winclip:own-12ab")).unlink()
    app = open_app(own, "failures", {"demo": torn.id})
    assert not app.exception
    assert texts(app).count("The saved picture is damaged or gone.") == 3, "in the list, and twice where it is open"
    assert any(one.label == "1 saved demos could not be read" for one in app.expander)
    keys = {button.key for button in app.button}
    assert {f"demo-{good.id}", f"demo-{torn.id}"} <= keys
    assert f"demo-{cut.id}" not in keys
    app.button(key="demo_remove").click().run()
    assert not app.exception
    assert [demo.id for demo in read_demos(own).items] == [good.id]
