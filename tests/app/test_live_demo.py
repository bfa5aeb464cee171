"""The live demo in process: every way in, every way out, and bad input at its place."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image

import vlmad_core
from pages._live import keep, visit
from pages._ui import machine
from vlmad_core.cli import main
from vlmad_core.errors import BackboneError
from vlmad_core.live.drawing import Look
from vlmad_core.store.annotations import read_demos


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(number: int = 0, size: tuple[int, int] = (96, 72)) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(noise)


def picture(number: int = 0, size: tuple[int, int] = (96, 72)) -> bytes:
    return encoded(pixels(number, size))


def bomb(width: int, height: int) -> bytes:
    """A PNG that promises a size and brings next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def texts(app) -> str:
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.warning, app.info, app.error, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def upload(app, content: bytes, words: str = "gear wheel", name: str = "part.png"):
    app.file_uploader(key="upload").upload(name, content)
    app.text_input(key="words-Upload-").set_value(words)
    return app.run()


def visit_of(app) -> visit.Visit:
    return app.session_state["live"]


def scores_of(app) -> dict[str, float]:
    return {one.method_id: one.image_score for one in visit_of(app).results.values()}


def test_a_missing_backbone_is_said_at_its_place(open_app, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BackboneError("The weights are not here.", "Fetch them.")

    st.cache_resource.clear()
    monkeypatch.setattr("vlmad_core.backbones.load_backbone", fail)
    app = open_app(measured, "live_demo")
    assert not app.exception
    assert "The weights are not here. Fetch them." in texts(app)
    st.cache_resource.clear()


def test_device_and_precision_are_chosen_where_there_is_a_choice(demo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "live_device" not in [one.key for one in demo.segmented_control]
    monkeypatch.setattr("vlmad_core.backbones.settling.settle_precision", lambda exact, *given: (exact, "made up"))
    monkeypatch.setattr("vlmad_core.backbones.devices.devices_here", lambda: ("auto", "cpu", "cpu:0"))
    machine.offers.clear()
    app = demo.segmented_control(key="live_precision").set_value("auto").run()
    assert app.segmented_control(key="live_device").value == "auto"
    assert "made up" in [one.help for one in app.markdown]


def test_page_python_and_command_line_agree(
    demo, tiny_clip: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = demo
    app.segmented_control(key="references_from").set_value("Upload").run()
    good = [tmp_path / f"good{number}.png" for number in (1, 2, 3)]
    for number, file in enumerate(good, start=1):
        file.write_bytes(picture(number))
    for file in good:
        app.file_uploader(key="references").upload(file.name, file.read_bytes())
    (tmp_path / "part.png").write_bytes(picture())
    upload(app, picture(), "Gear_wheel")
    names = ["clip_ac", "winclip", "patch_memory"]
    app.pills(key="live_methods").set_value(names).run()
    assert not app.exception
    mine = visit_of(app)
    panel = mine.panel[1]
    by_id = {one.method_id: one for one in mine.results.values()}
    shown = [by_id[member.method_id] for member in panel.members]
    stores = [measured / "bundled", measured]
    judged = vlmad_core.predict(
        tmp_path / "part.png", "Gear_wheel", names, list(good), backbone=str(tiny_clip), stores=stores
    )
    command = ["predict", str(tmp_path / "part.png"), "--category", "Gear_wheel", "--method", *names, "--json"]
    command += ["--references", *map(str, good), "--backbone", str(tiny_clip), "--store", *map(str, stores)]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    for prediction, opinion, told in zip(shown, judged.images[0].opinions, said["images"][0]["methods"], strict=True):
        other = opinion.prediction
        assert prediction.method_id == other.method_id == told["method"]
        assert prediction.image_score == other.image_score == told["score"]
        assert prediction.normals.scores == other.normals.scores == tuple(told["reference_scores"])
        assert prediction.reasons == other.reasons
        if prediction.anomaly_map is not None:
            np.testing.assert_array_equal(prediction.anomaly_map, other.anomaly_map)
        assert opinion.verdict.threshold.value == told["threshold"]["value"]
        assert f"{told['score']:.4g}" in texts(app)
        assert f"{told['threshold']['value']:.4g}" in texts(app)
    assert "Threshold from normal references" in texts(app)
    assert "**WinCLIP+**" in texts(app)
    task = visit.Task(visit_read(app), panel, None, "", "")
    setup = json.loads(keep._json(task, judged.images[0].opinions))["setup"]
    assert {k: v for k, v in setup.items() if k != "references"} == {
        k: v for k, v in said["setup"].items() if k != "references"
    }


def visit_read(app):
    (found,) = (one for (_, name), one in visit_of(app).read.items() if name == "part.png")
    return found


def test_an_own_threshold_decides(demo) -> None:
    app = upload(demo, picture())
    assert not app.exception
    assert texts(app).count("score **") == 3
    assert texts(app).count("no verdict") == 3
    before = dict(visit_of(app).results)
    app.number_input[0].set_value(0.0).run()
    assert ":red-badge[anomalous]" in texts(app)
    assert "Threshold set by you" in texts(app)
    assert all(visit_of(app).results[key] is value for key, value in before.items()), "nothing was computed again"


def test_a_further_method_is_added_to_what_is_known(demo) -> None:
    app = upload(demo, picture())
    before = dict(visit_of(app).results)
    app.pills(key="live_methods").set_value(["clip_ac", "winclip"]).run()
    app.pills(key="live_methods").set_value(["clip_ac", "clip_cpe", "winclip"]).run()
    assert not app.exception
    assert dict(visit_of(app).results).keys() == before.keys()
    assert all(visit_of(app).results[key] is value for key, value in before.items())


def test_what_is_not_available_says_why(demo) -> None:
    shown = texts(demo)
    for said in (
        "needs all test images of a set",
        "Train them",
        "Give at least one",
        "weights are not on this machine",
    ):
        assert said in shown
    assert "musc" not in demo.pills(key="live_methods").options


def test_a_photograph_is_judged(demo) -> None:
    app = demo.segmented_control(key="source").set_value("Camera").run()
    app.camera_input(key="camera").set_value(("photo.jpg", encoded(pixels(4), "JPEG"), "image/jpeg"))
    app.text_input(key="words-Camera-").set_value("nut").run()
    assert not app.exception
    assert len(scores_of(app)) == 3


def test_any_image_of_a_local_data_set_is_judged_with_its_references(
    open_app, measured: Path, tiny_backbone: None, tiny_dataset, tmp_path: Path
) -> None:
    tiny_dataset(tmp_path / "parts")
    app = open_app(measured, "live_demo", data_dir=tmp_path)
    app.selectbox(key="choose_datasetexample").select("parts").run()
    app.selectbox(key="choose_image").select("bolt/train/good/001.png").run()
    assert not app.exception
    assert "The data set says: normal." in texts(app)
    assert texts(app).count("score **") == 3
    app.segmented_control(key="references_from").set_value("Data set").run()
    app.segmented_control(key="references_shots").set_value(2).run()
    app.pills(key="live_methods").set_value(["winclip", "patch_memory"]).run()
    assert not app.exception
    assert "**WinCLIP+**" in texts(app)
    assert "false-positive rate 0.05 on 2 normal references" in "".join(str(one.help) for one in app.caption) or (
        "Threshold from normal references" in texts(app)
    )
    assert "Nearest reference patch" in texts(app)


def test_the_click_of_a_point_is_taken_with_care() -> None:
    from pages._live.why import _picked

    assert _picked({"selection": {"patch": [{"row": 1, "column": 2}]}}, (3, 3)) == (1, 2)
    for event in (
        None,
        {},
        {"selection": {"patch": [{"row": 9, "column": 0}]}},
        {"selection": {"patch": [{"row": "x"}]}},
    ):
        assert _picked(event, (3, 3)) is None


def test_cancel_keeps_what_is_done_and_continue_goes_on(demo) -> None:
    app = upload(demo, picture())
    mine = visit_of(app)
    keys = list(mine.results)
    for key in keys[1:]:
        del mine.results[key]
    mine.stopped = keys[0][0]
    app.run()
    assert "Cancelled: 1 of 3 methods are done." in texts(app)
    assert texts(app).count("score **") == 1
    assert app.button(key="live_control").label == "Continue"
    app.button(key="live_control").click().run()
    assert not app.exception
    assert "Cancelled" not in texts(app)
    assert texts(app).count("score **") == 3


def test_downloads_are_made_and_a_demo_is_saved(demo, tiny_clip: Path, measured: Path) -> None:
    app = upload(demo, picture(), "nut <script>")
    labels = {one.proto.label for one in app.get("download_button")}
    assert {"Report, opens offline (html)", "All settings and scores (json)", "WinCLIP (png)"} <= labels
    panel = visit_of(app).panel[1]
    task = visit.Task(visit_read(app), panel, None, "", "")
    judged = vlmad_core.predict(
        [("part.png", picture())], "nut", ["clip_ac", "winclip"], backbone=str(tiny_clip), stores=[]
    )
    opinions = judged.images[0].opinions
    page = keep._report(task, opinions, Look()).decode()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert json.loads(keep._json(task, opinions))["images"][0]["methods"][1]["method"] == "winclip:canonical"
    for content in (keep._figure(task, opinions, Look()), keep._method(task, opinions, opinions[1], Look())):
        assert content.startswith(b"\x89PNG")
    app.text_area(key="live_note").set_value("look again")
    app.button(key="live_save").click().run()
    assert not app.exception
    assert "Saved." in texts(app)
    (saved,) = read_demos(measured).items
    assert saved.content["note"] == "look again"
    assert saved.content["setup"]["category"] == "nut <script>"
    assert {"image.webp", "map-winclip_canonical.npz"} <= set(saved.files)


BAD = {
    "half.png": (picture()[:200], "damaged or cut off"),
    "page.png": (b"<!doctype html><p>no image</p>", "HTML"),
    "drawing.png": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "text.jpg": (b"%PDF-1.7 \xe2\xe3", "PDF"),
    "nothing.png": (b"", "empty"),
    "dot.png": (picture(0, (1, 1)), "at least 8"),
    "bomb.png": (bomb(60_000, 60_000), "allowed"),
    "long.png": (bomb(20_000, 40), "16,384"),
}
TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
ODD = {
    "16 bit": encoded(Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)),
    "cmyk": encoded(pixels(1).convert("CMYK"), "JPEG"),
    "palette": encoded(pixels(2).convert("P")),
    "animated": encoded(pixels(3), "WEBP", save_all=True, append_images=[pixels(4)]),
    "rotated": encoded(pixels(5), "JPEG", exif=TURNED),
}


def test_bad_uploads_are_said_at_their_place_and_the_session_goes_on(demo) -> None:
    app = demo
    app.text_input(key="words-Upload-").set_value("nut")
    for name, (content, said) in BAD.items():
        app.file_uploader(key="upload").set_value((name, content, "image/png")).run()
        assert not app.exception
        assert any(said in error.value and name in error.value for error in app.error), name
        assert scores_of(app) == {}
    app.file_uploader(key="upload").set_value(("part.png", picture(), "image/png")).run()
    assert not app.error
    assert len(scores_of(app)) == 3


def test_odd_but_good_uploads_are_judged(demo) -> None:
    app = demo
    app.text_input(key="words-Upload-").set_value("nut")
    app.pills(key="live_methods").set_value(["clip_ac"])
    for number, (name, content) in enumerate(ODD.items(), start=1):
        app.file_uploader(key="upload").set_value((f"{name}.png", content, "image/png")).run()
        assert not app.exception
        assert not app.error, name
        assert len(visit_of(app).results) == number


@pytest.mark.parametrize(
    ("words", "said"), [("   ", "Say in a word or two"), ("\N{WRENCH}\N{NUT AND BOLT}", "no letters")]
)
def test_words_that_can_not_be_used_are_said(demo, words: str, said: str) -> None:
    app = upload(demo, picture(), words)
    assert not app.exception
    assert said in texts(app)
    assert "score **" not in texts(app)


def test_words_without_end_are_cut_before_they_reach_a_prompt(demo) -> None:
    app = upload(demo, picture(), "x" * 10_000)
    assert not app.exception
    assert visit_of(app).panel[1].category == 60 * "x"


def test_hostile_words_and_names_do_not_reach_the_page_as_markup(demo) -> None:
    app = upload(demo, picture(), "{nut} <b>x</b> **y**", "<img src=x>.png")
    assert not app.exception
    assert "<b>" not in texts(app)
    assert "<img" not in texts(app)
    assert visit_of(app).panel[1].category == "{nut} <b>x</b> **y**"


def test_a_bad_reference_costs_itself_only(demo) -> None:
    app = demo.segmented_control(key="references_from").set_value("Upload").run()
    assert "They stay on this machine and are not kept." in [caption.value for caption in app.caption]
    app.file_uploader(key="references").upload("bad.png", b"%PDF").upload("good.png", picture(2, (64, 64)))
    upload(app, picture())
    assert not app.exception
    assert any("bad.png" in error.value for error in app.error)
    assert "**WinCLIP+**" in texts(app)


def test_a_method_that_fails_does_not_stop_the_others(demo, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("vlmad_core.methods.clip_text.ClipCpe.prepare", broken)
    app = upload(demo, picture())
    assert not app.exception
    assert any("RuntimeError" in error.value for error in app.error)
    assert texts(app).count("score **") == 2
