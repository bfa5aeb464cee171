"""Python and the command line: the same results, files that open offline, and errors at their place."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import vlmad_core
from vlmad_core.cli import main
from vlmad_core.errors import VlmadError
from vlmad_core.prompts import ensemble_label, load_ensemble, save_ensemble

METHODS = ["clip_ac", "winclip", "patch_memory"]


@pytest.fixture
def folder(part, tmp_path: Path) -> Path:
    """Two images to judge and three references."""
    for name, number, defect in (("a", 1, False), ("b", 2, True)):
        part(number, defect=defect).save(tmp_path / f"{name}.png")
    (tmp_path / "good").mkdir()
    for number in (5, 6, 7):
        part(number).save(tmp_path / "good" / f"{number}.png")
    return tmp_path


def numbers(answer: dict) -> list:
    """What has to agree: everything but times."""
    plain = json.loads(json.dumps(answer))
    for image in plain["images"]:
        for method in image["methods"]:
            method.pop("seconds")
    return plain


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, vlmad_core; print(sorted({'torch', 'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError):
        vlmad_core.no_such_thing  # noqa: B018


def test_python_and_the_command_line_agree(folder: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = vlmad_core.predict(
        [folder / "a.png", folder / "b.png"], "metal_nut", METHODS, folder / "good", backbone=str(tiny_clip), stores=[]
    )
    command = ["predict", str(folder / "a.png"), str(folder / "b.png"), "--category", "metal_nut", "--method", *METHODS]
    command += ["--references", str(folder / "good"), "--backbone", str(tiny_clip), "--store", str(folder / "none")]
    assert main([*command, "--json", "--out", str(folder / "out")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert numbers(said) == numbers(judged.to_json())
    assert said["setup"]["category"] == "metal nut"
    assert len(said["setup"]["references"]) == 3
    origins = {method["threshold"]["origin"] for image in said["images"] for method in image["methods"]}
    assert origins == {"normal_references"}
    names = {file.name for file in (folder / "out").iterdir()}
    assert {"result.json", "scores.csv", "report.html", "001-a.png", "002-b-winclip_canonical.png"} <= names
    assert json.loads((folder / "out" / "result.json").read_text()) == said
    with Image.open(folder / "out" / "001-a.png") as figure:
        assert figure.width > 3 * 360
    frame = judged.table()
    assert list(frame["method"]) == 2 * [f"{name}:canonical" for name in METHODS]
    assert judged.images[1]["patch_memory"].verdict.anomalous, "a red square is unlike grey noise"


def test_saved_prompts_are_taken_by_their_name(
    folder: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(folder / "prompts"))
    save_ensemble(replace(load_ensemble("states"), normal_states=("spotless {}",)), "my_words")
    label = ensemble_label("my_words")
    names = ["clip_cpe", "clip_cpe:my_words", "winclip:my_words", "clip_cpe:absent"]
    judged = vlmad_core.predict(folder / "a.png", "nut", names, backbone=str(tiny_clip), stores=[])
    opinions = {one.prediction.method_id: one.prediction for one in judged.images[0].opinions}
    assert list(opinions) == ["clip_cpe:canonical", f"clip_cpe:{label}", f"winclip:{label}", "clip_cpe:absent"]
    assert opinions[f"clip_cpe:{label}"].image_score != opinions["clip_cpe:canonical"].image_score
    assert "the name of a prompt ensemble" in (opinions["clip_cpe:absent"].error or "")
    recorded = {one["method"]: one.get("prompts") for one in judged.setup["methods"]}
    assert recorded[f"winclip:{label}"]["ensemble"] == "my_words"
    command = ["predict", str(folder / "a.png"), "--category", "nut", "--method", *names[:3], "--json"]
    assert main([*command, "--backbone", str(tiny_clip), "--store", str(folder / "none")]) == 0
    said = json.loads(capsys.readouterr().out)["images"][0]["methods"]
    assert {one["method"]: one["score"] for one in said} == {
        name: one.image_score for name, one in opinions.items() if one.error is None
    }


def test_a_report_needs_no_other_file_and_no_network(folder: Path, tiny_clip: Path) -> None:
    from vlmad_core.live.drawing import Look
    from vlmad_core.live.saved import render

    name = 'x" onerror="alert(1)<script>.png'
    image = Image.open(folder / "b.png").convert("RGB")
    judged = vlmad_core.predict([(name, (folder / "b.png").read_bytes())], "<b>nut</b>", backbone=str(tiny_clip))
    page = render(judged, {judged.images[0].content: image}, Look(), "<i>title</i>")

    class Sources(HTMLParser):
        found: list[str]
        tags: set[str]

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)
            self.found += [value for key, value in attrs if key in ("src", "href", "onerror")]

    parser = Sources()
    parser.found, parser.tags = [], set()
    parser.feed(page)
    assert parser.found
    assert all(value.startswith("data:image/webp;base64,") for value in parser.found)
    assert not parser.tags & {"script", "link", "iframe", "b", "i"}
    assert "demonstration backbone" not in page, "only the bundled backbone is one"


def test_bad_images_cost_themselves_only(folder: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "page.png").write_text("<!doctype html><p>not found</p>")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    images = [str(folder / name) for name in ("page.png", "a.png", "cut.png", "none.png")]
    command = ["predict", *images, "--category", "nut", "--method", "clip_ac", "--backbone", str(tiny_clip)]
    assert main([*command, "--out", str(folder / "out")]) == 2
    out, err = capsys.readouterr()
    assert "CLIP-AC" in out
    assert "page.png: not an image that can be read; found an HTML page" in err
    assert "cut.png" in err
    assert "none.png: can't be read (no such file)" in err
    assert (folder / "out" / "002-a.png").is_file()
    assert (folder / "out" / "scores.csv").read_text().count("\n") == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--category", "x" * 10_000], "10,000 characters"),
        (["--category", "\N{WRENCH}"], "no letters or digits"),
        (["--category", ""], "no name"),
        (["--threshold", "winclip"], "Write METHOD=VALUE"),
        (["--threshold", "winclip=high"], "Write METHOD=VALUE"),
        (["--threshold", "winclip=1"], "not among the methods"),
        (["--references", "/nowhere/good.png"], "no such file"),
        (["--backbone", "/nowhere"], "no backbone folder"),
    ],
)
def test_wrong_use_is_said_with_exit_code_1(folder, tiny_clip, capsys, change: list[str], said: str) -> None:
    command = ["predict", str(folder / "a.png"), "--category", "nut", "--method", "clip_ac", "--backbone"]
    assert main([*command, str(tiny_clip), *change]) == 1
    assert said in capsys.readouterr().err


def test_own_thresholds_decide(folder: Path, tiny_clip: Path) -> None:
    for value, word in ((-1.0, True), (2.0, False)):
        judged = vlmad_core.predict(
            folder / "a.png", "nut", ["clip_ac"], backbone=str(tiny_clip), thresholds={"clip_ac": value}, stores=[]
        )
        assert judged.images[0]["clip_ac"].verdict.anomalous is word
        assert judged.images[0]["clip_ac"].verdict.threshold.origin == "user"


def test_thresholds_come_from_stored_runs_of_the_same_backbone(folder: Path, tiny_clip: Path) -> None:
    judged = vlmad_core.predict(folder / "a.png", "nut", ["clip_ac"], backbone=str(tiny_clip), stores=[folder])
    assert judged.images[0]["clip_ac"].verdict is None
    assert "no stored run" in judged.images[0]["clip_ac"].reason
    with pytest.raises(KeyError):
        judged.images[0]["winclip"]


def test_too_many_references_are_refused(folder: Path, tiny_clip: Path, part) -> None:
    many = [part(number) for number in range(17)]
    with pytest.raises(VlmadError, match="17 references were given, more than the 16"):
        vlmad_core.predict(folder / "a.png", "nut", ["clip_ac"], many, backbone=str(tiny_clip))


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_name_that_is_no_utf_8_ends_nothing(
    folder: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    named = folder / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xe9 =1.png")
    named.parent.mkdir()
    shutil.copy(folder / "a.png", named)
    (named.parent / os.fsdecode(b"cut \xff.png")).write_bytes(b"\x89PNG")
    command = ["predict", str(named), str(named.parent), "--category", "nut", "--method", "clip_ac", "--backbone"]
    assert main([*command, str(tiny_clip), "--out", str(folder / "out")]) == 2
    assert "cut %FF.png: not an image" in capsys.readouterr().err
    out = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert set(out) >= {"result.json", "scores.csv", "report.html", "001-E9_1.png"}
    assert out["scores.csv"].count(b"%E9 =1.png,clip_ac") == 2
    assert b"cut %FF.png" in out["report.html"]
    sys.stdout.flush()
    assert b"%E9 =1.png\n" in sys.stdout.buffer.getvalue()  # type: ignore[attr-defined]
