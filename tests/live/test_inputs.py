from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from vlmad_core.datasets.catalogue import category_words
from vlmad_core.datasets.images import ImageLimits, pixel_hash
from vlmad_core.errors import DatasetError
from vlmad_core.inference.engine import Engine
from vlmad_core.live.inputs import gather
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import Panel


def test_files_folders_archives_and_open_images_are_listed_in_order(part, as_png, zipped, tmp_path: Path) -> None:
    png = as_png(part(1))
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.png").write_bytes(png)
    (folder / "deep" / "a.png").write_bytes(png)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(png)
    archive = zipped({"x.png": png, "in/y.jpg": png, "readme.md": b"#", "__MACOSX/x.png": png, "in/": b""})
    given = gather([folder, ("all.zip", archive), part(2), ("up.png", png)])
    names = [item.name for item in given.items]
    assert names == ["b.png", "deep/a.png", "all.zip/x.png", "all.zip/in/y.jpg", "image 5", "up.png"]
    assert given.left_out == 2
    contents = {item.read().content for item in given.items}
    assert len(contents) == 2, "equal pixels have equal hashes whatever they came in"


def test_a_picture_survives_the_way_to_another_process(part) -> None:
    sent = next(iter(gather([part(3)]).items)).read()
    found = pickle.loads(pickle.dumps(sent))
    assert (found.name, found.content, found.image.mode) == (sent.name, sent.content, "RGB")
    assert pixel_hash(found.image) == sent.content


def test_archives_that_lead_out_are_never_followed(as_png, part, zipped, tmp_path: Path) -> None:
    png = as_png(part(1))
    names = ("../../evil.png", "/etc/evil.png", "a\\..\\..\\evil.png", "C:/evil.png", "good.png")
    given = gather([("trap.zip", zipped(dict.fromkeys(names, png)))])
    assert [item.name for item in given.items] == ["trap.zip/good.png"]
    assert len(given.problems) == 4
    assert all("leads out of the archive" in problem for problem in given.problems)
    assert given.items[0].read().image.size == (48, 48)
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_entries_are_refused_before_any_is_read(zipped) -> None:
    content = zipped({f"{number}.png": b"" for number in range(10_000)})
    with pytest.raises(DatasetError, match="10,000 entries, more than the 2,000 allowed"):
        gather([("many.zip", content)])


def test_more_images_than_a_batch_are_refused(zipped, as_png, part) -> None:
    png = as_png(part(1))
    with pytest.raises(DatasetError, match="201 images were given, more than the 200"):
        gather([("many.zip", zipped({f"{number}.png": png for number in range(201)}))])


def test_zip_bombs_end_at_the_limit(zipped) -> None:
    limits = ImageLimits(max_bytes=2**20, max_unpacked_bytes=3 * 2**20)
    bomb = zipped({"bomb.png": bytes(2**20 + 1)})
    assert len(bomb) < 5_000
    with pytest.raises(DatasetError, match="unpacks to more than the 1 MB"):
        gather([("bomb.zip", bomb)], limits).items[0].read()
    many = gather([("many.zip", zipped({f"{n}.png": bytes(2**20) for n in range(5)}))], limits)
    said = []
    for item in many.items:
        with pytest.raises(DatasetError) as caught:
            item.read()
        said.append("archive unpacks to more than the 3 MB" in caught.value.problem)
    assert said == [False, False, False, True, True]


def test_a_lying_header_does_not_get_past_the_limit(zipped) -> None:
    content = bytearray(zipped({"a.png": bytes(3 * 2**20)}))
    place = content.rindex(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    content[place : place + 4] = struct.pack("<I", 100)
    item = gather([("liar.zip", bytes(content))], ImageLimits(max_bytes=2**20)).items[0]
    with pytest.raises(DatasetError, match=r"unpacked|unpacks|not an image"):
        item.read()


def test_encrypted_damaged_and_nested_archives_are_said(zipped, as_png, part) -> None:
    content = bytearray(zipped({"a.png": as_png(part(1)), "inner.zip": zipped({"b.png": b""})}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    given = gather([("locked.zip", bytes(content))])
    assert given.problems == ("locked.zip/inner.zip: an archive inside an archive is not opened; it was left out.",)
    with pytest.raises(DatasetError, match="encrypted"):
        given.items[0].read()
    with pytest.raises(DatasetError, match="not a zip archive"):
        gather([("page.zip", b"<html></html>")])
    with pytest.raises(DatasetError, match="not a zip archive"):
        gather([("cut.zip", zipped({"a.png": as_png(part(1))})[:-30])])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", as_png(part(1)))
    stored = bytearray(buffer.getvalue())
    stored[60:80] = bytes(20)
    with pytest.raises(DatasetError, match="can't be unpacked"):
        gather([("hurt.zip", bytes(stored))]).items[0].read()


def test_an_archive_that_is_too_large_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "big.zip"
    file.write_bytes(bytes(2000))
    limits = ImageLimits(max_archive_bytes=1000)
    for source in (file, ("big.zip", bytes(2000))):
        with pytest.raises(DatasetError, match=r"more than (1,000 bytes|the 0 MB allowed)"):
            gather([source], limits)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_never_ends_costs_itself_only(part, tmp_path: Path) -> None:
    """In a folder and by itself; neither is waited for."""
    part(0).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    items = gather([tmp_path, tmp_path / "pipe.png", tmp_path / "pipe.zip"]).items
    assert [item.name for item in items] == ["a.png", "pipe.png", "zero.png", "pipe.png", "pipe.zip"]
    assert items[0].read().image.size == part(0).size
    for item in items[1:]:
        with pytest.raises(DatasetError, match=rf"{item.name}: can't be read \(it is a folder, pipe or device"):
            item.read()


def test_a_bad_item_costs_itself_only(part, as_png) -> None:
    given = gather([("a.png", as_png(part(1))), ("b.png", b"%PDF-1.7"), ("c.png", b""), ("d.png", as_png(part(2)))])
    assert len(given.items) == 4
    for index, said in ((1, "PDF"), (2, "empty")):
        with pytest.raises(DatasetError, match=said):
            given.items[index].read()
    assert given.items[3].read().image.size == (48, 48)


def test_nothing_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image"):
        gather([tmp_path])
    with pytest.raises(DatasetError, match="no such file"):
        gather([tmp_path / "none.png"]).items[0].read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no name"),
        ("   \t\n", "no name"),
        ("\u200d\u200b\x00", "no name"),
        ("\N{NUT AND BOLT}\N{WRENCH}\ufe0f", "no letters or digits"),
        ("!!! --- {}", "no letters or digits"),
        ("x" * 61, "61 characters"),
        ("nut " * 2500, "10,000 characters"),
    ],
)
def test_words_that_can_not_be_a_name_get_a_reason_and_a_fix(text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        category_words(text)
    assert caught.value.fix.startswith("Say in a word or two")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metal nut", "metal nut"),
        ("  metal_nut\n", "metal nut"),
        ("nut\x00\x1b[31m", "nut [31m"),
        ("{nut} <b>x</b>", "{nut} <b>x</b>"),
        ("Schraube M6 größe", "Schraube M6 größe"),
        ("ねじ", "ねじ"),
        ("nut \N{WRENCH}", "nut \N{WRENCH}"),
    ],
)
def test_words_are_tidied_and_otherwise_left(text: str, words: str) -> None:
    assert category_words(text) == words


def test_braces_and_markup_are_letters_to_the_prompts(engine: Engine, picture) -> None:
    members = choose_members(["clip_cpe"], engine.info, 0)
    (found,) = Panel(engine, "{} <b>{0}</b>", members).judge(picture(0))
    assert found.error is None
    assert any("{} <b>{0}</b>" in reason.text for reason in found.reasons)
