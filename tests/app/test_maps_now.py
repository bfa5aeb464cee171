"""Failures shows the map of every method that makes one: as it was kept, or computed now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.kept import makes_maps
from vlmad_core.store.reader import open_stores
from vlmad_core.store.schema import sealed

BUNDLED = Path(__file__).parents[2] / "results"


def panels(app) -> dict[str, str]:
    """What is below each picture, by its first line."""
    below = [one.caption for image in app.get("image") for one in image.proto.imgs if one.caption]
    return {title: more for title, _, more in (text.partition("  \n") for text in below)}


def captions(app) -> str:
    return "\n".join(caption.value for caption in app.caption)


@pytest.mark.parametrize("shots", [0, 4])
def test_no_panel_without_a_map_where_the_method_makes_maps(open_app, shots: int) -> None:
    app = open_app(BUNDLED, "failures", {"dataset": "bundled_a", "shots": str(shots), "category": "wood"})
    assert not app.exception
    store = open_stores([BUNDLED / "bundled"])
    one = next(one for one in comparisons(store) if one.dataset == "bundled_a")
    shown = panels(app)
    with_maps = 0
    for line in one.entries(shots):
        run = line.run_with("wood")
        if line.seen == "yes":
            assert line.title not in shown  # off until asked for
        elif not makes_maps(store, run.id, "wood"):
            assert line.title not in shown
            assert "No anomaly map" in captions(app)
        elif run.protocol.method["transductive"] and not store.keeps_maps(run.id, "wood"):
            assert line.title not in shown
            assert "judges all 60 test images together" in captions(app)
        else:
            with_maps += 1
            assert (shown[line.title] == "") == store.keeps_maps(run.id, "wood"), line.title
            assert shown[line.title] in ("", ":gray[computed now]")
    assert with_maps >= 3
    assert "were not kept" not in captions(app)
    # A panel whose place stays empty would say what it is in a caption of its own.
    assert not [text for text in app.caption if text.value.partition("  \n")[0] in {e.title for e in one.entries()}]


def test_maps_and_reasons_that_no_run_kept_are_computed_and_say_so(open_app) -> None:
    app = open_app(BUNDLED, "failures", {"dataset": "bundled_a", "shots": "2", "category": "wood", "method": "winclip"})
    assert set(panels(app).values()) >= {":gray[computed now]"}
    assert "methods together; not kept with the run" in captions(app)
    app.session_state["why"] = True
    app.run()
    assert not app.exception
    assert "Computed now; not kept with the run." in captions(app)
    assert any("Similarity" in table.value.columns for table in app.table)


@pytest.fixture
def bare(measured: Path, tmp_path: Path) -> Path:
    """A store whose WinCLIP kept no maps, and whose images are not on this machine."""
    path = Path(shutil.copytree(measured, tmp_path / "store", ignore=shutil.ignore_patterns("annotations")))
    for file in path.glob("widgets/winclip*/*/unit.json"):
        value = json.loads(file.read_text())
        del value["files"]["grids.npz"]
        file.write_bytes(sealed(value))
        (file.parent / "grids.npz").unlink()
    return path


def test_what_can_not_be_computed_is_one_line_with_its_reason(open_app, bare: Path) -> None:
    app = open_app(bare, "failures", {"dataset": "widgets", "category": "bolt", "shots": "0"})
    assert not app.exception
    assert set(panels(app)) >= {"Original", "clip_cpe"}
    assert "WinCLIP" not in panels(app)
    assert "**WinCLIP**: Not kept with the run, and the images are not on this machine." in captions(app)
    assert "**CLIP-AC**: No anomaly map" in captions(app)
