"""What strangers upload: every layout as it will be read from disk, and hostile archives refused or left out."""

from __future__ import annotations

import io
import stat
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.check import check_dataset
from vlmad_core.datasets.images import ImageLimits
from vlmad_core.datasets.parts import Part
from vlmad_core.errors import DatasetError
from vlmad_core.workspace import parts
from vlmad_core.workspace.uploads import UPLOAD_LIMITS, UPLOAD_MEGABYTES, gather_upload, sorted_upload


def photo(number: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
    """A small photo; no two numbers are alike."""
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    """A zip of files by name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    return content.getvalue()


def plates() -> dict[str, bytes]:
    """Twelve good and eight bad photos."""
    good = {f"good/{number:03}.png": photo(number) for number in range(12)}
    return good | {f"bad/{number:03}.png": photo(100 + number) for number in range(8)}


def part(title: str = "Metal plate") -> Part:
    return parts.new_part(title)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))


LAYOUTS = {
    "folders": plates(),
    "inside a folder": {f"my plates/{name}": content for name, content in plates().items()},
    "mvtec": {
        f"plate/{place}/{number}.png": photo(number + 10 * index)
        for index, place in enumerate(["train/good", "test/good", "test/dent"])
        for number in range(3)
    }
    | {f"plate/ground_truth/dent/{number}_mask.png": photo() for number in range(3)},
    "table": {name.replace("/", "-"): content for name, content in plates().items()}
    | {"labels.csv": "\n".join(["file,label", *(f"{n.replace('/', '-')},{n[:3]}" for n in plates())]).encode()},
    "visa": {f"plate/Data/Images/{kind}/{n}.png": photo(n) for kind in ("Normal", "Anomaly") for n in range(5)},
}
LAYOUTS["table"]["labels.csv"] = LAYOUTS["table"]["labels.csv"].replace(b",goo", b",good")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_upload_is_listed_in_memory_as_it_is_read_once_it_is_written(layout: str, tmp_path: Path) -> None:
    upload = gather_upload([("plates.zip", packed(LAYOUTS[layout]))])
    before = upload.listing(part())
    assert not (tmp_path / "workspace").exists()
    kept = parts.keep(part(), upload=upload)
    after = load_dataset(kept.slug)
    shown = [
        [(s.id, s.category, s.split, s.label, s.mask_path is None) for s in one.samples] for one in (before, after)
    ]
    assert shown[0] == shown[1]
    assert before.categories == ("metal_plate",)
    assert (before.name, before.layout, before.notes) == (after.name, after.layout, after.notes)
    for old, new in zip(before.samples, after.samples, strict=True):
        assert upload.content(old.image_path) == new.image_path.read_bytes()


def test_photos_in_memory_reach_no_disk_while_they_are_listed_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    plain = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: written.append(data) or plain(self, data))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    upload = gather_upload([(name, content) for name, content in plates().items()])
    report = check_dataset(upload.listing(part()), upload.content)
    assert set(written) == {b"-"}
    assert list(tmp_path.iterdir()) == []
    assert report.counts == {"metal_plate": (4, 8, 8)}
    assert report.sizes == {(24, 16): 20}
    assert report.ok


def test_the_check_of_an_upload_names_its_files(tmp_path: Path) -> None:
    files = plates() | {"bad/001.png": b"%PDF-1.4", "bad/002.png": photo(100), "notes.txt": b"hello"}
    upload = gather_upload([("plates.zip", packed(files))])
    assert upload.left_out == 1
    report = check_dataset(upload.listing(part()), upload.content)
    found = {(finding.kind, finding.path.relative_to(upload.root).as_posix()) for finding in report.findings}
    assert found == {("unreadable_image", "bad/001.png"), ("duplicate", "bad/002.png"), ("no_masks", ".")}
    assert "/tmp" not in str(report.as_json())


def test_two_heaps_become_good_and_bad() -> None:
    good = [(f"{number}.png", photo(number)) for number in range(6)]
    bad = [("bad.zip", packed({"0.png": photo(50), "deep/dent/1.png": photo(51), "other/dent/1.png": photo(52)}))]
    upload = sorted_upload(good, bad)
    listed = Counter((s.label, s.defect_type) for s in upload.listing(part()).samples)
    assert listed == {(0, "good"): 6, (1, "bad"): 1, (1, "dent"): 1}
    assert upload.problems == ("other/dent/1.png: another photo has its name; it was left out.",)


def linked() -> bytes:
    """A zip with a link to a file of the system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        link = zipfile.ZipInfo("good/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        for name, one in plates().items():
            archive.writestr(name, one)
    return content.getvalue()


HOSTILE = {
    "../evil.png": "its path leads out of the archive",
    "good/../../evil.png": "its path leads out of the archive",
    "/etc/evil.png": "its path leads out of the archive",
    "..\\evil.png": "its path leads out of the archive",
    "C:\\evil.png": "its path leads out of the archive",
    "good/inner.zip": "an archive inside an archive is not opened",
    f"good/{'x' * 300}.png": "its name can't be written on every system",
    "good/line\nbreak.png": "its name can't be written on every system",
    "good/000.png/in.png": "a folder has its name",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_left_out_with_a_sentence(name: str, tmp_path: Path) -> None:
    upload = gather_upload([("trap.zip", packed(plates() | {name: photo(7)}))])
    (problem,) = upload.problems
    assert HOSTILE[name] in problem
    assert "left out" in problem
    kept = parts.keep(part(), upload=upload)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".png"]
    assert len(written) == 20
    assert all(path.is_relative_to(kept.photos) for path in written)


def test_links_are_left_out_and_never_written(tmp_path: Path) -> None:
    upload = gather_upload([("trap.zip", linked())])
    assert upload.problems == ("trap.zip/good/link.png: it is a link, not a file; it was left out.",)
    parts.keep(part(), upload=upload)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_names_in_odd_encodings_are_read(tmp_path: Path) -> None:
    files = {f"good/Bl\u00e4ch {n} \u306d\u3058.png": photo(n) for n in range(4)} | {"bad/\u00e9.png": photo(9)}
    content = packed(files)
    ancient = packed({"good/a.png": photo(1), "good/b.png": photo(2), "bad/a.png": photo(3)}).replace(
        b"good/a", b"good/\x81"
    )
    for archive, count in ((content, 5), (ancient, 3)):
        kept = parts.keep(part(), upload=gather_upload([("names.zip", archive)]))
        assert len(load_dataset(kept.slug).samples) == count
    broken = bytearray(packed({"good/\u00e4.png": photo(1)}))
    for place in (broken.index("\u00e4".encode()), broken.rindex("\u00e4".encode())):
        broken[place] = 0xFF
    with pytest.raises(DatasetError, match="not a zip archive that can be read"):
        gather_upload([("broken.zip", bytes(broken))])


def test_ten_thousand_entries_are_refused_before_the_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({f"good/{number}.png": b"" for number in range(10_000)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(DatasetError, match="10,000 entries, more than the 5,000 allowed"):
        gather_upload([("many.zip", content)])


def test_bombs_end_at_the_limit_and_the_rest_is_kept(tmp_path: Path) -> None:
    limits = ImageLimits(max_bytes=2**20, max_unpacked_bytes=2**21, max_archive_bytes=2**20)
    bomb = packed({"good/bomb.png": bytes(2**26), **plates()})
    assert len(bomb) < 2**20
    upload = gather_upload([("bomb.zip", bomb)], limits)
    report = check_dataset(upload.listing(part()), upload.content)
    (finding,) = (one for one in report.findings if one.severity == "error")
    assert "unpacks to more than the 1 MB allowed" in finding.message
    kept = parts.keep(part(), upload=upload)
    assert sum(path.stat().st_size for path in kept.photos.rglob("*.png")) < 2**20
    assert len(load_dataset(kept.slug).samples) == 20
    many = gather_upload([("many.zip", packed({f"good/{n}.png": bytes(2**19) for n in range(8)}))], limits)
    kept = parts.keep(part("Many"), upload=many)
    assert sum(path.stat().st_size for path in kept.photos.rglob("*.png")) <= limits.max_unpacked_bytes


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_would_unpack_at_once_is_not_unpacked(method: int) -> None:
    """A piece of 1 MB of bzip2 unfolds to terabytes, and zipfile asks for all of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("good/0.png", photo())
    (read,) = gather_upload([("odd.zip", buffer.getvalue())]).files.values()
    with pytest.raises(DatasetError, match=r"odd\.zip/good/0\.png: it is packed in an unusual way"):
        read()


def test_more_than_the_limit_is_refused() -> None:
    limits = ImageLimits(max_archive_bytes=1000)
    with pytest.raises(DatasetError, match="allowed"):
        gather_upload([("big.zip", bytes(2000))], limits)
    with pytest.raises(DatasetError, match="MB allowed were uploaded"):
        gather_upload([(f"{number}.png", bytes(400)) for number in range(3)], limits)
    with pytest.raises(DatasetError, match=r"files were uploaded, more than the 3 allowed"):
        gather_upload([(f"{n}.png", photo(n)) for n in range(4)], ImageLimits(max_archive_entries=3))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("page.zip", b"<html></html>")], "not a zip archive"),
        ([("readme.txt", b"hello")], "There is no photo"),
        ([("trap.zip", packed({"../a.png": photo()}))], "leads out of the archive"),
        ([], "There is no photo"),
    ],
)
def test_what_holds_no_photo_is_refused_with_the_reason(given: list[tuple[str, bytes]], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        gather_upload(given)


def test_an_unknown_layout_says_what_is_expected() -> None:
    upload = gather_upload([("a.png", photo(1)), ("b.png", photo(2))])
    with pytest.raises(DatasetError, match="the upload has no layout that is known") as caught:
        upload.listing(part())
    assert "good/*.jpg" in caught.value.fix


def test_a_table_that_names_files_of_the_server_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(photo(1))
    for name, table in (("manifest.csv", f"image,label\n{secret},0\n"), ("labels.csv", f"file,label\n{secret},good\n")):
        upload = gather_upload([("trap.zip", packed({name: table.encode(), "a.png": photo(2)}))])
        with pytest.raises(DatasetError):
            upload.listing(part())


def test_the_limit_is_that_of_the_server() -> None:
    config = (Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text()
    assert f"maxUploadSize = {UPLOAD_MEGABYTES}\n" in config
    assert UPLOAD_LIMITS.max_archive_bytes == UPLOAD_MEGABYTES * 2**20
