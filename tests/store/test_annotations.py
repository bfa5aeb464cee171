from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from vlmad_core.errors import StoreError
from vlmad_core.store import annotations
from vlmad_core.store.annotations import (
    LARGEST_DEMO,
    Annotation,
    annotations_signature,
    read_annotations,
    read_demo,
    read_demos,
    remove_demo,
    save_annotation,
    save_demo,
)
from vlmad_core.store.reader import open_store

ONE = Annotation("parts", "hex_nut", "hex_nut/test/crack/001.png", "winclip", 2, note="a crack", tags=("small",))


def test_a_note_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    kept = save_annotation(tmp_path, ONE)
    assert kept is not None
    assert kept.changed_at
    (found,) = read_annotations(tmp_path).items
    assert found == kept
    assert (found.note, found.tags, found.shots) == ("a crack", ("small",), 2)
    assert read_annotations(tmp_path, "parts").items == (kept,)
    assert read_annotations(tmp_path, "others").items == ()
    assert open_store(tmp_path).problems == ()


def test_there_is_one_note_per_image_and_method(tmp_path: Path) -> None:
    save_annotation(tmp_path, ONE)
    save_annotation(tmp_path, Annotation(*ONE.key, note="two"))
    save_annotation(tmp_path, Annotation(*ONE.key[:3], "clip_ac", note="other method"))
    assert sorted(one.note for one in read_annotations(tmp_path).items) == ["other method", "two"]


def test_an_empty_note_is_removed(tmp_path: Path) -> None:
    save_annotation(tmp_path, ONE)
    before = annotations_signature(tmp_path)
    assert save_annotation(tmp_path, Annotation(*ONE.key, note="  \n", tags=(" ",))) is None
    assert read_annotations(tmp_path).items == ()
    assert annotations_signature(tmp_path) != before


def test_who_has_not_seen_the_latest_note_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00", "2026-01-01T00:00:02+00:00"])
    monkeypatch.setattr(annotations, "now", lambda: next(times))
    first = save_annotation(tmp_path, ONE, seen="")
    assert first is not None
    with pytest.raises(StoreError, match="Somebody else"):
        save_annotation(tmp_path, Annotation(*ONE.key, note="late"), seen="")
    save_annotation(tmp_path, Annotation(*ONE.key, note="in turn"), seen=first.changed_at)
    assert read_annotations(tmp_path).items[0].note == "in turn"


def test_many_writers_lose_nothing_and_leave_no_half_file(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for image in range(5):
            save_annotation(tmp_path, Annotation("parts", "nut", f"own-{writer}-{image}", "winclip", note="x" * 2000))
            save_annotation(tmp_path, Annotation("parts", "nut", "common", "winclip", note=str(writer)))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    found = read_annotations(tmp_path)
    assert not found.problems
    assert len(found.items) == 21
    folder = tmp_path / "annotations" / "failures" / "parts"
    assert {path.suffix for path in folder.iterdir()} == {".json"}


def test_hostile_texts_stay_texts_inside_the_store(tmp_path: Path) -> None:
    hostile = Annotation(
        "../../etc",
        "..",
        "../../../passwd",
        "<script>",
        note="\x00\u202e=cmd|' /C calc'!A0\ud800",
        tags=("../x", "y" * 99),
    )
    save_annotation(tmp_path / "store", hostile)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    (found,) = read_annotations(tmp_path / "store", "../../etc").items
    assert found.image_id == "../../../passwd"
    assert found.note == "=cmd|' /C calc'!A0"
    assert found.tags == ("../x", "y" * 40)


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"schema_version": 1}', '{"schema_version": 99}', '{"schema_version": 1, "note": 3}']
)
def test_a_damaged_note_costs_itself_only(tmp_path: Path, content: str) -> None:
    save_annotation(tmp_path, ONE)
    damaged = tmp_path / "annotations" / "failures" / "parts" / "0123456789abcdef.json"
    damaged.write_text(content)
    found = read_annotations(tmp_path)
    assert [one.note for one in found.items] == ["a crack"]
    assert [problem.path for problem in found.problems] == [damaged]


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "annotations").write_text("in the way")
    with pytest.raises(StoreError, match=r"Nothing was saved.*VLMAD_STORE"):
        save_annotation(tmp_path, ONE)
    with pytest.raises(StoreError, match="Nothing was saved"):
        save_demo(tmp_path, "demo", {}, {})
    assert read_annotations(tmp_path).items == ()
    assert read_demos(tmp_path).items == ()


def test_a_demo_comes_back_with_its_files(tmp_path: Path) -> None:
    saved = save_demo(tmp_path, "A nut\x00", {"scores": [0.5], "words": "hex nut"}, {"image.webp": b"abc"})
    (listed,) = read_demos(tmp_path).items
    assert listed == saved
    assert listed.title == "A nut"
    again = read_demo(tmp_path, saved.id)
    assert again.content == {"scores": [0.5], "words": "hex nut"}
    assert again.read("image.webp") == b"abc"
    with pytest.raises(StoreError, match="no file"):
        again.read("../demo.json")
    remove_demo(tmp_path, saved.id)
    assert read_demos(tmp_path).items == ()


def test_demos_are_newest_first_and_a_damaged_one_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00", "2026-01-01T00:00:02+00:00"])
    monkeypatch.setattr(annotations, "now", lambda: next(times))
    ids = [save_demo(tmp_path, str(number), {}, {}).id for number in range(3)]
    mark = tmp_path / "annotations" / "demos" / ids[1] / "demo.json"
    mark.write_text(json.dumps({"schema_version": 1, "content": [], "files": {}}))
    found = read_demos(tmp_path)
    assert [one.id for one in found.items] == [ids[2], ids[0]]
    assert len(found.problems) == 1
    with pytest.raises(StoreError):
        read_demo(tmp_path, ids[1])


@pytest.mark.parametrize("demo_id", ["", "..", "../failures", "0123456789abcdef", "x" * 5000])
def test_an_unknown_demo_is_refused(tmp_path: Path, demo_id: str) -> None:
    save_demo(tmp_path, "demo", {}, {})
    with pytest.raises(StoreError, match="no saved demo"):
        read_demo(tmp_path, demo_id)
    remove_demo(tmp_path, demo_id)
    assert len(read_demos(tmp_path).items) == 1


@pytest.mark.parametrize("name", ["../x", "demo.json", "a/b", ".hidden", "", "x" * 99])
def test_files_of_a_demo_can_not_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="can't be called"):
        save_demo(tmp_path, "demo", {}, {name: b""})


def test_a_demo_that_is_too_large_or_no_json_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="json"):
        save_demo(tmp_path, "demo", {"score": float("nan")}, {})
    monkeypatch.setattr(annotations, "LARGEST_DEMO", 2**20)
    with pytest.raises(StoreError, match="at most 1 MB"):
        save_demo(tmp_path, "demo", {}, {"a": bytes(2**20 + 1)})
    assert LARGEST_DEMO > 2**20
    assert not (tmp_path / "annotations").exists()


def test_a_demo_whose_file_became_an_endless_device_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "annotations" / "demos" / ("a" * 16)
    folder.mkdir(parents=True)
    record = {"schema_version": 1, "title": "t", "saved_at": "", "content": {}, "files": {"a.png": 3}}
    (folder / "demo.json").write_text(json.dumps(record))
    (folder / "a.png").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match="no regular file"):
        read_demo(tmp_path, "a" * 16).read("a.png")
