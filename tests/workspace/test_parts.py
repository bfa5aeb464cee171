"""A user's own parts: found by name, kept apart, renamed, removed, taken along; and folders where nobody may look."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets import list_datasets, load_dataset
from vlmad_core.datasets.catalogue import category_noun, official_sets
from vlmad_core.datasets.parts import Part, find_part, list_parts
from vlmad_core.errors import DatasetError
from vlmad_core.workspace import parts
from vlmad_core.workspace.uploads import Upload


def write_photos(folder: Path) -> Path:
    """Six good and two bad photos."""
    for place, count in (("good", 6), ("bad", 2)):
        (folder / place).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((16, 24, 3), 10 * number + len(place), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    return folder


def upload_of(folder: Path) -> Upload:
    """The same photos in memory."""
    return Upload({path.relative_to(folder).as_posix(): path.read_bytes for path in sorted(folder.rglob("*.png"))})


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos where visitors may look."""
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))
    return write_photos(tmp_path / "data" / "plates")


@pytest.mark.parametrize("given", ["whole", "relative"])
def test_a_folder_on_the_server_becomes_a_data_set_by_its_slug(photos: Path, given: str) -> None:
    part = parts.new_part("Bracket, left", photos if given == "whole" else Path("plates"), "metal bracket")
    assert not part.kept
    kept = parts.keep(part)
    assert (kept.slug, kept.kept, kept.photos) == ("bracket-left", True, photos)
    dataset = load_dataset("bracket-left")
    assert (dataset.name, dataset.layout, dataset.categories) == ("bracket-left", "labelled", ("metal_bracket",))
    assert category_noun("metal_bracket") == "metal bracket"
    assert {sample.dataset for sample in dataset.samples} == {"bracket-left"}
    by_path = load_dataset(photos)
    assert [(s.id, s.split, s.label) for s in dataset.samples] == [(s.id, s.split, s.label) for s in by_path.samples]
    (entry,) = (one for one in list_datasets() if one.title)
    assert (entry.name, entry.title, entry.available) == ("bracket-left", "Bracket, left", True)
    assert not (kept.home / "photos").exists()


def test_two_uploads_of_one_name_are_kept_apart(photos: Path) -> None:
    def keep(_: int) -> Part:
        return parts.keep(parts.new_part("Plate"), upload=upload_of(photos))

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(keep, range(4)))
    assert sorted(part.slug for part in kept) == ["plate", "plate-2", "plate-3", "plate-4"]
    assert all(len(load_dataset(part.slug).samples) == 8 for part in kept)
    assert parts.keep(parts.new_part("Plate!"), taken={"plate-5"}, upload=upload_of(photos)).slug == "plate-6"
    assert [part.title for part in list_parts()] == ["Plate"] * 4 + ["Plate!"]


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Bottle", "bottle"),
        ("Größe 3 – Blech", "groe-3-blech"),
        ("ねじ", "part"),
        ("bundled", "part-bundled"),
        ("Jobs", "part-jobs"),
        ("VisA", "part-visa"),
        ("../../etc", "etc"),
        ("x " * 29, ("x-" * 20).strip("-")),
    ],
)
def test_slugs_are_plain_and_take_no_other_name(photos: Path, title: str, slug: str) -> None:
    part = parts.keep(parts.new_part(title, photos))
    assert part.slug == slug
    assert find_part(slug) == part
    assert slug not in official_sets()


@pytest.mark.parametrize("title", ["", "  ", "!!!", "x" * 61])
def test_a_part_needs_a_name_in_words(photos: Path, title: str) -> None:
    with pytest.raises(DatasetError, match="name"):
        parts.new_part(title, photos)


@pytest.mark.parametrize("where", ["/etc", "../outside", "link_out", "workspace/../../outside", "nowhere"])
def test_folders_elsewhere_on_the_server_are_refused(photos: Path, tmp_path: Path, where: str) -> None:
    write_photos(tmp_path / "outside")
    (photos.parent / "link_out").symlink_to(tmp_path / "outside")
    place = Path(where) if where != "../outside" else photos.parent / ".." / "outside"
    with pytest.raises(DatasetError) as caught:
        parts.new_part("Plate", place)
    assert "not below the folders that may be read from here" in str(caught.value)


def test_photos_that_are_links_to_files_elsewhere_are_left_out(photos: Path, tmp_path: Path) -> None:
    outside = write_photos(tmp_path / "outside")
    (photos / "good" / "link.png").symlink_to(outside / "good" / "0.png")
    (photos / "bad" / "within.png").symlink_to(photos / "good" / "0.png")
    kept = parts.keep(parts.new_part("Plate", photos))
    dataset = load_dataset(kept.slug)
    assert [(problem.kind, problem.path.name) for problem in dataset.problems] == [("outside", "link.png")]
    assert len(dataset.samples) == 9


def test_a_record_that_was_changed_to_lead_elsewhere_is_refused(photos: Path, tmp_path: Path) -> None:
    kept = parts.keep(parts.new_part("Plate", photos))
    outside = write_photos(tmp_path / "outside")
    (kept.home / "part.json").write_text(json.dumps({**kept.record(), "folder": str(outside)}))
    with pytest.raises(DatasetError, match="not below the folders"):
        load_dataset(kept.slug)
    (entry,) = (one for one in list_datasets() if one.name == kept.slug)
    assert not entry.available
    assert "not below the folders" in entry.reason


@pytest.mark.parametrize("content", ["{", "{}", '{"slug": 3, "title": "x", "noun": "x", "created": "x"}', "[]"])
def test_a_damaged_record_costs_its_part_only(photos: Path, content: str) -> None:
    whole = parts.keep(parts.new_part("Plate", photos))
    damaged = parts.keep(parts.new_part("Bolt", photos))
    (damaged.home / "part.json").write_text(content)
    assert list_parts() == (whole,)
    with pytest.raises(DatasetError, match=r"part\.json"):
        find_part("bolt")


def test_a_part_is_renamed_and_its_slug_and_noun_stay(photos: Path) -> None:
    kept = parts.keep(parts.new_part("Plate", photos))
    renamed = parts.rename(kept, "  Plate of\tline 3 ")
    assert find_part("plate") == renamed
    assert (renamed.title, renamed.slug, renamed.noun) == ("Plate of line 3", "plate", "plate")


def test_removing_a_part_takes_its_photos_and_results_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    store = tmp_path / "results"
    for name in ("plate", "plate-2"):
        kept = parts.keep(parts.new_part("Plate"), upload=upload_of(photos))
        (store / name).mkdir(parents=True)
        (store / name / "run.json").write_text("{}")
    served = parts.keep(parts.new_part("Served", photos))
    parts.remove(find_part("plate"), [store])
    parts.remove(served, [store])
    assert [part.slug for part in list_parts()] == ["plate-2"]
    assert [path.name for path in store.iterdir()] == ["plate-2"]
    assert parts.free_slug("Plate") == "plate-3"  # what pages remember of the first must not show for another
    assert len(list(photos.rglob("*.png"))) == 8
    parts.remove_photos(kept)
    assert kept.kept
    assert not kept.photos.exists()
    assert parts.size(kept) < 1000


def test_a_part_is_taken_along_with_photos_and_results(photos: Path, tmp_path: Path) -> None:
    kept = parts.keep(parts.new_part("Plate"), upload=upload_of(photos))
    run = tmp_path / "results" / "plate" / "run"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (kept.home / "secret.png").symlink_to("/etc/passwd")
    out = io.BytesIO()
    parts.export(kept, [tmp_path / "results", tmp_path / "none"], out)
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {"plate/part.json", "plate/results/run/run.json", "plate/photos/good/0.png"} < set(names)
    assert len(names) == 10


def test_nothing_is_kept_where_nothing_can_be_written(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = photos.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("VLMAD_WORKSPACE", str(blocked / "workspace"))
    with pytest.raises(DatasetError, match="Nothing was kept"):
        parts.keep(parts.new_part("Plate"), upload=upload_of(photos))
