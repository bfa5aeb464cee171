"""A stored run computed again: the same, within rounding, or otherwise; and what is not compared at all."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmad_core.analysis.repeated import Moved, RepeatedUnit, _reach, conditions, explanation, overall
from vlmad_core.cli import main
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import run_plan
from vlmad_core.metrics.image import image_metrics
from vlmad_core.store.reader import open_store
from vlmad_core.store.schema import sealed
from vlmad_core.store.tables import grid_bytes, read_grids

BUNDLED = Path(__file__).parents[1] / "results" / "bundled"


@pytest.fixture(scope="module")
def made(
    quick_disk: None, tiny_clip: Path, tiny_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a data set and a store of it: with and without references, through a cache, and in tiles."""
    folder = tmp_path_factory.mktemp("reproduce")
    data = tiny_dataset(folder / "widgets", categories=("bolt", "felt"))
    common = {"datasets": [str(data)], "backbone": str(tiny_clip), "store": folder / "results", "latency_images": 0}
    cached = {"methods": ["clip_ac"], "cache": True, "cache_dir": folder / "cache"}
    tiled = {"methods": ["patch_memory"], "shots": [2], "tiles": [2, 1], "region": [0.1, 0.0, 0.9, 1.0]}
    for values in ({"methods": ["winclip", "musc"], "shots": [0, 2], "seeds": 2, "grids": "first_seed"}, cached, tiled):
        with Reporter() as reporter:
            run_plan(build_plan(make_options({**values, **common, "threads": 1, "batch_size": 4})), reporter)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that may be damaged; its runs know the data set by the first one's place."""
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    return Path(shutil.copytree(made / "results", tmp_path / "results"))


Reproduce = Callable[..., tuple[int, Any]]


@pytest.fixture
def reproduce(capsys: pytest.CaptureFixture[str]) -> Reproduce:
    def run(store: Path, name: str, *more: str) -> tuple[int, Any]:
        code = main(["reproduce", name, "--store", str(store), "--json", *more])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    return run


def edit(store: Path, run: str, name: str, change: Callable[[bytes], bytes], category: str = "bolt") -> None:
    """Change a file of a unit, and what the unit notes of it: nobody can tell by its hash."""
    (unit,) = store.glob(f"widgets/{run}*/{category}")
    content = change((unit / name).read_bytes())
    (unit / name).write_bytes(content)
    record = json.loads((unit / "unit.json").read_text())
    record["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (unit / "unit.json").write_bytes(sealed(record))


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        read = pq.read_table(io.BytesIO(content))
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(change(read.to_pandas()), schema=read.schema), out)
        return out.getvalue()

    return changed


def moved_scores(by: float) -> Callable[[bytes], bytes]:
    return table(lambda frame: frame.assign(score=frame["score"] + by * np.where(np.arange(len(frame)) % 2, 1, -1)))


def edit_run(store: Path, run: str, change: Callable[[dict[str, Any]], None]) -> None:
    (file,) = store.glob(f"widgets/{run}*/run.json")
    record = json.loads(file.read_text())
    change(record)
    file.write_bytes(sealed(record))


def test_every_run_comes_out_the_same_to_the_last_bit(copy: Path, reproduce: Reproduce) -> None:
    runs = open_store(copy).runs
    assert len({(run.key.method, run.key.shots, run.key.seed) for run in runs}) == len(runs) == 6
    for run in runs:
        code, found = reproduce(copy, run.id)
        assert (code, found["verdict"], found["exit_code"]) == (0, "identical", 0), found
        assert [unit["category"] for unit in found["units"]] == ["bolt", "felt"]
        assert {unit["images"] for unit in found["units"]} == {10}
        assert all(unit["metrics"] > 5 and unit["moved"] == [] for unit in found["units"])
        kept = run.key.seed == 0 and run.key.method != "clip_ac"
        assert {unit["largest_map"] for unit in found["units"]} == {0.0 if kept else None}
        assert found["conditions"] == []
        assert found["store"] is None


def test_what_rounding_moves_is_explained_by_the_machine(copy: Path, reproduce: Reproduce) -> None:
    edit(copy, "winclip-canonical-0shot", "images.parquet", moved_scores(1e-6))
    edit(copy, "winclip-canonical-0shot", "metrics.parquet", table(lambda f: f.assign(low=f["low"] + 1e-4)))
    code, found = reproduce(copy, "winclip-canonical-0shot", "--categories", "bolt")
    assert (code, found["verdict"]) == (0, "within tolerance")
    (unit,) = found["units"]
    assert unit["scores_moved"] == 10
    assert unit["largest_score"] == pytest.approx(1e-6, rel=1e-3)
    assert {one["name"].endswith(".low") for one in unit["moved"]} == {True}
    assert {one["allowed"] for one in unit["moved"]} == {None}
    assert "Machine and libraries go by the same names" in found["explanation"]
    assert "look twice" not in found["explanation"]
    edit_run(
        copy, "winclip-canonical-0shot", lambda record: record["provenance"]["hardware"].update(processor="Abacus")
    )
    _, found = reproduce(copy, "winclip-canonical-0shot", "--categories", "bolt")
    assert [(one["name"], one["stored"]) for one in found["conditions"]] == [("processor", "Abacus")]
    assert "Hardware and libraries explain it: processor differ" in found["explanation"]
    edit(copy, "winclip-canonical-0shot", "images.parquet", moved_scores(5e-4))
    code, found = reproduce(copy, "winclip-canonical-0shot", "--categories", "bolt")
    assert (code, found["verdict"]) == (0, "within tolerance")
    assert "more than rounding was seen to do: look twice" in found["explanation"]


def test_a_score_beyond_the_tolerance_is_named(copy: Path, reproduce: Reproduce, capsys: Any) -> None:
    edit(copy, "musc", "images.parquet", table(lambda f: f.assign(score=f["score"] + 0.05 * (f.index == 3))))
    code, found = reproduce(copy, "musc", "--categories", "bolt")
    assert (code, found["verdict"]) == (1, "different")
    name = open_store(copy).images(found["run"], "bolt")["image_id"][3]
    assert found["units"][0]["beyond"] == [name]
    assert "Hardware does not explain it: a score or map moved by 0.05" in found["explanation"]
    assert main(["reproduce", "musc", "--store", str(copy)]) == 1
    said = capsys.readouterr().out
    assert f"beyond the tolerance: {name}" in said
    assert "felt: identical: 0 of 10 scores moved" in said


def test_a_map_beyond_the_tolerance_is_named(copy: Path, reproduce: Reproduce) -> None:
    def change(content: bytes) -> bytes:
        kept = read_grids(content)
        other = np.where(
            np.arange(len(kept.grids))[:, None, None, None] == 2, kept.grids + np.float32(0.02), kept.grids
        )
        return grid_bytes(kept.image_ids, other, kept.rule)

    edit(copy, "musc", "grids.npz", change)
    code, found = reproduce(copy, "musc", "--categories", "bolt")
    assert (code, found["units"][0]["largest_score"]) == (1, 0.0)
    assert found["units"][0]["largest_map"] == pytest.approx(0.02, rel=1e-3)
    assert len(found["units"][0]["beyond"]) == 1


def test_a_metric_that_follows_from_no_score_is_found(copy: Path, reproduce: Reproduce, capsys: Any) -> None:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        wrong = frame["metric"].isin(["image_auroc", "pixel_ap"]) & frame["value"].notna()
        return frame.assign(value=frame["value"] + 1e-5 * wrong)

    edit(copy, "winclip-canonical-0shot", "metrics.parquet", table(change))
    code, found = reproduce(copy, "winclip-canonical-0shot", "--categories", "bolt")
    assert code == 1
    wrong = [one for one in found["units"][0]["moved"] if not one["within"]]
    assert {one["name"].partition("@")[0] for one in wrong} == {"image_auroc", "pixel_ap"}
    assert "What measures has changed, or a stored table." in found["explanation"]
    assert main(["reproduce", "winclip-canonical-0shot", "--store", str(copy), "--categories", "bolt"]) == 1
    assert "NOT EXPLAINED" in capsys.readouterr().out


def test_a_table_that_can_not_be_read_is_said(copy: Path, reproduce: Reproduce) -> None:
    edit(copy, "musc", "grids.npz", lambda content: content[:50])
    code, found = reproduce(copy, "musc", "--categories", "bolt")
    assert code == 2
    assert "grids.npz" in found["unreadable"][0]


def test_a_category_that_fails_is_said(copy: Path, reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr("vlmad_core.engine.runner.score_category", fail)
    code, found = reproduce(copy, "musc")
    assert (code, found["verdict"]) == (2, None)
    assert found["failed"] == dict.fromkeys(("bolt", "felt"), "OSError: the disk went away")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["protocol"]["backbone"].update(weights_hash="0" * 16), "The backbone is another here"),
        (lambda r: r["protocol"]["backbone"].update(id="nobodys"), "is not on this machine"),
        (lambda r: r["protocol"]["method"].update(prompts={"ensemble": "0"}), "The method is another here"),
        (lambda r: r["protocol"]["method"].update(imported={"origin": "x"}), "Another program made the scores"),
        (lambda r: r["protocol"]["evaluation"]["metrics"].update(image_auroc="0"), "The evaluation is another here"),
        (lambda r: r["protocol"]["data"].update(listing="0" * 16), "lists other images here"),
        (lambda r: r["protocol"]["data"].update(per_label=7), "took another choice of images"),
        (lambda r: r["provenance"]["data"].update(source="/nowhere"), "/nowhere"),
    ],
)
def test_what_would_compare_unlike_things_is_refused(
    copy: Path, reproduce: Reproduce, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit_run(copy, "winclip-canonical-0shot", change)
    code, error = reproduce(copy, "winclip-canonical-0shot")
    assert code == 1
    assert error.startswith("error: ")
    assert said in error


def test_changed_images_unknown_categories_and_a_taken_folder_are_refused(
    made: Path, copy: Path, reproduce: Reproduce, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(made / "widgets", tmp_path / "elsewhere" / "widgets"))
    assert reproduce(copy, "musc", "--data", str(other), "--categories", "bolt")[0] == 0
    Image.new("RGB", (40, 40)).save(next((other / "bolt" / "test" / "good").glob("*.png")))
    code, error = reproduce(copy, "musc", "--data", str(other))
    assert (code, "The images or masks of bolt in widgets are not those that" in error) == (1, True)
    assert reproduce(copy, "musc", "--data", str(other), "--categories", "felt")[0] == 0
    code, error = reproduce(copy, "musc", "--categories", "nut")
    assert (code, "has not finished 'nut'. It has: bolt, felt." in error) == (1, True)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, error = reproduce(copy, "musc", "--out", str(copy))
    assert (code, "is there already" in error) == (1, True)
    code, found = reproduce(copy, "musc", "--out", str(tmp_path / "kept"), "--categories", "felt")
    assert (code, found["store"]) == (0, str(tmp_path / "kept"))
    assert open_store(tmp_path / "kept").run(found["run"]).categories == ("felt",)
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("stored", "here", "judged", "allowed", "within"),
    [
        (0.5, 0.6, True, (0.4, 0.6), True),
        (0.5, 0.7, True, (0.4, 0.6), False),
        (0.5, None, True, (0.4, 0.6), False),
        (None, 0.5, True, None, False),
        (0.5, 0.9, False, None, True),
        (0.5, None, False, None, True),
    ],
)
def test_a_number_that_counts_and_is_gone_or_new_is_not_explained(
    stored: float | None, here: float | None, judged: bool, allowed: tuple[float, float] | None, within: bool
) -> None:
    assert Moved("image_ap", stored, here, judged, allowed).within is within


@pytest.mark.parametrize("seed", range(20))
def test_no_move_of_the_scores_takes_an_image_metric_further_than_is_allowed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, 2, 30), rng.normal(size=30).round(1 + seed % 8)  # with ties, and without
    largest = 10.0 ** -rng.integers(1, 7)
    reach = _reach(pd.DataFrame({"label": labels, "score": scores}), largest)
    stored = image_metrics(labels, scores)
    assert reach.keys() == {"image_auroc", "image_ap", "image_f1max"}
    rounding = 1e-12
    for name, (low, high) in reach.items():
        assert low - rounding <= stored[name].value <= high + rounding
        if len(set(scores)) == len(scores) and np.diff(np.sort(scores)).min() > 4 * largest:
            assert high - low < rounding, "where no two images can change places, nothing may move"
    for _ in range(200):
        moved = image_metrics(labels, scores + largest * rng.choice([-1.0, -0.5, 0.0, 1.0], size=30))
        for name, (low, high) in reach.items():
            assert low - rounding <= moved[name].value <= high + rounding


def test_the_worst_category_decides_and_memory_explains_nothing(copy: Path) -> None:
    same = RepeatedUnit("a", 4, 0, 0.0, None, (), 9, ())
    near, far = RepeatedUnit("b", 4, 2, 1e-7, None, (), 9, ()), RepeatedUnit("c", 4, 1, 0.1, None, ("x",), 9, ())
    assert [overall(units) for units in ((same,), (near, same), (near, far, same))] == [
        "identical",
        "within tolerance",
        "different",
    ]
    run = open_store(copy).runs[0]
    edit_run(copy, run.id.partition("/")[2], lambda record: record["provenance"]["hardware"].update(memory_gb=1.0))
    changed = next(one for one in open_store(copy).runs if one.id == run.id)
    assert conditions(run, changed) == ()
    assert explanation([same], (), 1e-3) == "Every number is the same to the last bit."


def test_the_bundled_run_is_reproduced(reproduce: Reproduce) -> None:
    code, found = reproduce(BUNDLED, "bundled_a/clip_ac-canonical", "--categories", "capsule")
    assert code == 0, found
    assert found["verdict"] in ("identical", "within tolerance")
    assert found["units"][0]["images"] == 60
