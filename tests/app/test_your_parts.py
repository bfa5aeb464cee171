"""Your parts: photos in, checked in plain words, kept when they are needed; and the workspace's parts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets.parts import find_part, list_parts
from vlmad_core.workspace import parts
from vlmad_core.workspace.uploads import UPLOAD_MEGABYTES, gather_upload


def photo(number: int) -> bytes:
    """A small photo; no two numbers are alike."""
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def plates() -> dict[str, bytes]:
    """Twelve good and eight bad photos."""
    good = {f"good/{number:03}.png": photo(number) for number in range(12)}
    return good | {f"bad/{number:03}.png": photo(100 + number) for number in range(8)}


def packed(files: dict[str, bytes]) -> bytes:
    """A zip of files by name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    return content.getvalue()


def kept(title: str, **taken: Any) -> Any:
    """A part of twelve good and eight bad photos."""
    return parts.keep(parts.new_part(title), upload=gather_upload(list(plates().items())), **taken)


def said(app: Any, *kinds: str) -> str:
    """What the page says, in one text."""
    return "\n".join(str(one.value) for kind in kinds for one in getattr(app, kind))


def give(app: Any, files: dict[str, bytes], title: str = "Metal plate") -> None:
    """Upload a zip and name the part."""
    app.file_uploader(key="part_files").upload("plates.zip", packed(files), "application/zip")
    app.run()
    if title:
        app.text_input(key="part_title").set_value(title)
        app.run()


def test_what_may_be_given_and_where_it_goes_is_said_first(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    assert not app.exception
    captions = said(app, "caption")
    for words in ("`good` and `bad`", "`labels.csv`", f"{UPLOAD_MEGABYTES} MB", f"written to `{workspace}`"):
        assert words in captions


def test_an_upload_is_checked_in_plain_words_and_stays_in_memory(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    give(app, plates() | {"bad/001.png": b"%PDF-1.4", "../evil.png": photo(1)}, title="")
    assert not app.exception
    assert "**12 good** photos, 4 of them for references and never tested on, and **8 defective**" in said(
        app, "markdown"
    )
    warnings = said(app, "warning")
    assert "1 photo that can't be read." in warnings
    assert "bad/001.png: not an image" in warnings
    assert "its path leads out of the archive" in warnings
    assert "All photos have 24 x 16 pixels." in said(app, "markdown")
    assert "Say in a word or two" in said(app, "info")
    app.text_input(key="part_title").set_value("Metal plate").run()
    assert "Say in a word or two" not in said(app, "info")
    assert not workspace.exists()


def test_what_can_not_be_used_is_said(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    give(app, {f"{number}.png": photo(number) for number in range(5_001)}, title="")
    assert "5,001 entries, more than the 5,000 allowed" in said(app, "error")
    give(app, {"a.png": photo(1)}, title="")
    assert "no layout that is known" in said(app, "error")
    assert not app.exception


def test_good_and_bad_photos_are_given_apart(open_app, empty: Path, workspace: Path) -> None:
    app = open_app(empty, "your_parts")
    app.segmented_control(key="part_source").set_value("heaps").run()
    for key, start in (("part_good", 0), ("part_bad", 100)):
        for number in range(3):
            app.file_uploader(key=key).upload(f"{number}.png", photo(start + number), "image/png")
    app.run()
    assert "**3 good** photos, 1 of them for references" in said(app, "markdown")
    assert "**3 defective**" in said(app, "markdown")


def test_a_folder_on_the_server_is_chosen(open_app, empty: Path, workspace: Path, tmp_path: Path) -> None:
    for name, content in plates().items():
        path = tmp_path / "data" / "plates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    app = open_app(empty, "your_parts", data_dir=tmp_path / "data")
    app.segmented_control(key="part_source").set_value("server").run()
    assert app.selectbox(key="part_folder").options == ["plates", "plates/bad", "plates/good"]
    app.selectbox(key="part_folder").set_value("plates").run()
    assert not app.exception
    assert "**12 good** photos" in said(app, "markdown")


def test_a_folder_that_is_a_link_to_elsewhere_is_refused(
    open_app, empty: Path, workspace: Path, tmp_path: Path
) -> None:
    for place in ("data", "elsewhere/good"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "elsewhere" / "good" / "1.png").write_bytes(photo(1))
    (tmp_path / "data" / "plates").symlink_to(tmp_path / "elsewhere")
    app = open_app(empty, "your_parts", data_dir=tmp_path / "data")
    app.segmented_control(key="part_source").set_value("server").run()
    app.selectbox(key="part_folder").set_value("plates").run()
    assert "plates is not below the folders that may be read from here" in said(app, "error")


def test_kept_parts_are_chosen_renamed_and_removed(open_app, empty: Path, workspace: Path) -> None:
    first, second = kept("Metal plate"), kept("Metal plate")
    app = open_app(empty, "your_parts")
    assert not app.exception
    assert app.selectbox(key="choose_part").options == ["A new part", "Metal plate", "Metal plate"]
    app.selectbox(key="choose_part").set_value(second.slug).run()
    assert "**Metal plate**: **12 good** photos" in said(app, "markdown")
    app.text_input(key=f"title-{first.slug}").set_value("Plate of line 3").run()
    app.button(key=f"rename-{first.slug}").click().run()
    assert [part.title for part in list_parts()] == ["Metal plate", "Plate of line 3"]
    app.button(key=f"photos-{second.slug}").click().run()
    assert not app.exception
    assert not second.photos.exists()
    assert "The photos of Metal plate were removed from the workspace." in said(app, "info")
    app.button(key=f"delete-{second.slug}").click().run()
    assert not app.exception
    assert find_part(second.slug) is None
    assert app.selectbox(key="choose_part").value == "new"


def test_a_link_opens_a_part(open_app, empty: Path, workspace: Path) -> None:
    part = kept("Metal plate")
    app = open_app(empty, "your_parts", {"dataset": part.slug})
    assert "**Metal plate**: **12 good** photos" in said(app, "markdown")


def test_where_others_may_call_nothing_is_changed(
    open_app, empty: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = kept("Metal plate")
    monkeypatch.setattr("vlmad_core.paths.jobs_allowed", lambda address: False)
    app = open_app(empty, "your_parts")
    assert "Nothing can be changed from here" in said(app, "caption")
    assert not [
        button.key for button in app.button if part.slug in str(button.key) and not button.key.startswith("open")
    ]


def test_measured_parts_are_chosen_by_their_names_in_words_on_every_page(
    open_app, made_up_store, tmp_path: Path, workspace: Path
) -> None:
    part = kept("Metal plate")
    store = made_up_store(tmp_path / "store", datasets=(part.slug,), categories=("metal_plate",))
    for page in ("leaderboard", "failures"):
        app = open_app(store, page, {"dataset": part.slug})
        assert not app.exception
        chooser = next(one for one in app.selectbox if one.label == "Data set")
        assert chooser.options[0] == "Metal plate"
        assert chooser.options[-1] == "Your own images…"
        assert "**Metal plate**" in said(app, "markdown")


@pytest.mark.parametrize("page", ["leaderboard", "live_demo", "prompt_lab"])
def test_every_chooser_of_a_data_set_leads_to_the_page(open_app, measured: Path, workspace: Path, page: str) -> None:
    app = open_app(measured, page)
    chooser = next(one for one in app.selectbox if one.label == "Data set")
    assert chooser.options[-1] == "Your own images…"
    chooser.set_value("own-photos").run()
    assert not app.exception
    assert app.title[0].value == "Your parts"
