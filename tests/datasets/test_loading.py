from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.datasets import canonical_name, list_datasets, load_dataset
from vlmad_core.datasets.loading import PACKAGED, package_root
from vlmad_core.errors import DatasetError


def test_single_category_keeps_the_ids_of_the_whole(mvtec_tree: Path) -> None:
    whole = load_dataset(mvtec_tree)
    one = load_dataset(mvtec_tree / "gear")
    assert one.name == "gear"
    assert {sample.id for sample in one.samples} == {s.id for s in whole.samples if s.category == "gear"}


def test_single_category_of_a_published_set_is_named_after_the_set(mvtec_tree: Path) -> None:
    renamed = mvtec_tree.rename(mvtec_tree.parent / "MVTec-AD")
    dataset = load_dataset(renamed / "gear")
    assert (dataset.name, dataset.official) == ("mvtec-ad", "mvtec_ad")


def test_name_is_looked_up_in_the_data_folder(mvtec_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMAD_DATA_DIR", str(mvtec_tree.parent))
    assert load_dataset("factory").root == mvtec_tree
    assert load_dataset("factory/gear").categories == ("gear",)
    mvtec_tree.rename(mvtec_tree.parent / "mvtec_anomaly_detection")
    assert load_dataset("mvtec").root == mvtec_tree.parent / "mvtec_anomaly_detection"
    entry = next(entry for entry in list_datasets() if entry.name == "mvtec_anomaly_detection")
    assert (entry.available, entry.layout) == (True, "mvtec")


def test_unknown_name_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path))
    with pytest.raises(DatasetError, match="No data set named 'nowhere' in ") as caught:
        load_dataset("nowhere")
    assert str(tmp_path) in caught.value.problem
    monkeypatch.delenv("VLMAD_DATA_DIR")
    with pytest.raises(DatasetError, match="VLMAD_DATA_DIR is not set"):
        load_dataset("nowhere")


def test_folder_around_one_data_set_and_around_several(mvtec_tree: Path, write_image: Callable[..., Path]) -> None:
    assert load_dataset(mvtec_tree.parent).root == mvtec_tree
    write_image(mvtec_tree.parent / "other" / "nut" / "train" / "good" / "1.png")
    write_image(mvtec_tree.parent / "other" / "nut" / "test" / "good" / "1.png")
    with pytest.raises(DatasetError, match="several data sets: factory, other"):
        load_dataset(mvtec_tree.parent)


def test_nothing_there_empty_and_unknown_layout_show_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load_dataset(tmp_path / "missing")
    with pytest.raises(DatasetError, match="is empty") as empty:
        load_dataset(tmp_path)
    assert "train/good" in empty.value.fix
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DatasetError, match="no layout that is known") as unknown:
        load_dataset(tmp_path)
    assert "ground_truth/<defect type>/<stem>_mask.png" in unknown.value.fix
    (tmp_path / "file.bin").write_bytes(b"x")
    with pytest.raises(DatasetError, match="neither a folder nor a manifest"):
        load_dataset(tmp_path / "file.bin")


def test_layout_without_images(tmp_path: Path) -> None:
    (tmp_path / "gear" / "train" / "good").mkdir(parents=True)
    (tmp_path / "gear" / "test" / "good").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no image"):
        load_dataset(tmp_path)


def test_given_name_wins(mvtec_tree: Path) -> None:
    dataset = load_dataset(mvtec_tree, name="plant_7")
    assert dataset.name == "plant_7"
    assert {sample.dataset for sample in dataset.samples} == {"plant_7"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("MVTec-AD", "mvtec_ad"),
        ("mvtec", "mvtec_ad"),
        ("VisA", "visa"),
        ("KolektorSDD2", "ksdd2"),
        ("Magnetic tile", "mtd"),
        ("My Plant", "my_plant"),
        ("mvtec_loco", "mvtec_loco"),
    ],
)
def test_canonical_names(name: str, key: str) -> None:
    assert canonical_name(name) == key


def test_packages_that_are_not_installed_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLMAD_DATA_DIR", raising=False)
    for name, package in PACKAGED.items():
        monkeypatch.setitem(sys.modules, package.module, None)
        with pytest.raises(DatasetError, match=f"pip install {package.distribution}"):
            load_dataset(name)
        entry = next(entry for entry in list_datasets() if entry.name == name)
        assert not entry.available
        assert "requirements-data.txt" in entry.reason


@pytest.mark.parametrize(("name", "images", "train"), [("elpv", 2624 - 295, 470 + 736), ("textile", 2000, 800)])
def test_installed_packages(name: str, images: int, train: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if package_root(name) is None:
        pytest.skip(f"{PACKAGED[name].distribution} (requirements-data.txt) is not installed")
    monkeypatch.delenv("VLMAD_DATA_DIR", raising=False)
    dataset = load_dataset(name)
    assert dataset.problems == ()
    assert len(dataset.samples) == images
    assert sum(sample.split == "train" for sample in dataset.samples) == train


def test_real_data_sets_by_name(data_dir: Path) -> None:
    names = [entry.name for entry in list_datasets() if entry.root and entry.root.is_relative_to(data_dir)]
    if not names:
        pytest.skip(f"no data set in {data_dir}")
    for name in names:
        dataset = load_dataset(name)
        assert dataset.samples
        assert len({sample.id for sample in dataset.samples}) == len(dataset.samples)
        assert all(sample.image_path.is_file() for sample in dataset.samples)
