"""What a part is judged by, and what that would take."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlmad_core.cards import first_for_parts
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.views import View
from vlmad_core.engine.estimate import Estimate
from vlmad_core.errors import VlmadError
from vlmad_core.workspace.plans import (
    backbone_input,
    estimate_part,
    left_out,
    part_options,
    reference_choices,
    shortage,
)


def test_a_plan_is_estimated_for_photos_that_are_not_written_yet(tiny_dataset, tiny_clip: Path, tmp_path: Path):
    folder = tiny_dataset(tmp_path / "bolts", categories=("bolt",), train=5, normal=2, defective=1)
    dataset = load_dataset(folder)
    shutil.rmtree(folder)  # as an upload: the listing is known, the files are in memory
    options = part_options("bolts", [*first_for_parts(), "musc"], 4, str(tiny_clip))
    found = estimate_part(dataset, options)
    units = {run.partition("/")[2].rpartition("-seed")[0] for run, *_ in found.units}
    assert units == {
        "clip_ac-canonical-0shot", "winclip-canonical-0shot", "winclip-canonical-4shot",
        "patch_memory-canonical-4shot", "musc-canonical-0shot",
    }  # fmt: skip
    assert {what for what, _ in found.not_applicable} == {
        "clip_ac:canonical with 4 shots", "musc:canonical with 4 shots", "patch_memory:canonical with 0 shots"
    }  # fmt: skip
    assert left_out(found) == ()
    few = replace(found, units=tuple(unit for unit in found.units if "musc" not in unit[0]))
    assert [what for what, _ in left_out(few)] == ["musc:canonical with 4 shots"]
    assert found.images == 4
    assert found.seconds > 0
    assert found.in_short[0] == "units: 5 missing; 4 images to pass"
    assert found.in_short[1].startswith("time about ")


def test_what_the_machine_lacks_is_said_before_the_start(monkeypatch, tmp_path: Path):
    found = Estimate((), (), (), 4, 1.0, "one pass", memory_bytes=2 * 2**30, disk_bytes=3 * 2**20, cache_bytes=0)
    free = SimpleNamespace(available=3 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=4 * 2**20 if place == tmp_path else 0))
    assert shortage(found, tmp_path / "not" / "there") == ""
    assert "4 MB left, and it takes about 5 MB" in shortage(replace(found, disk_bytes=5 * 2**20), tmp_path)
    free.available = 2**30
    assert "has 1.0 GB of free memory, and the plan takes about 2.0 GB" in shortage(found, tmp_path)


def test_references_are_offered_as_far_as_there_are_good_photos(tiny_dataset, tmp_path: Path):
    few, more = (tiny_dataset(tmp_path / str(count), categories=("nut",), train=count) for count in (1, 5))
    assert reference_choices(load_dataset(few)) == ()
    assert reference_choices(load_dataset(more)) == (2, 4)
    assert part_options("nut", ["winclip"], 0, "bundled").shots == (0,)
    with pytest.raises(VlmadError, match="names no methods"):
        part_options("nut", [], 0, "bundled")


def test_a_plan_says_how_photos_are_looked_at_only_where_that_is_not_plain(tiny_clip: Path):
    assert part_options("nut", ["clip_ac"], 0, "bundled", View()) == part_options("nut", ["clip_ac"], 0, "bundled")
    options = part_options("nut", ["clip_ac"], 0, "bundled", View((0.0, 0.0, 0.5, 1.0), (2, 3), 0.25))
    assert (options.region, options.tiles, options.tile_overlap) == ((0.0, 0.0, 0.5, 1.0), (2, 3), 0.25)
    side, patch = backbone_input(str(tiny_clip))
    assert side % patch == 0
