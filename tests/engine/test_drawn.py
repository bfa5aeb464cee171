"""The references of a stored run are those it drew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.sample import Sample
from vlmad_core.datasets.splits import draw_references
from vlmad_core.engine.drawn import references_of
from vlmad_core.store.reader import Missing, open_store
from vlmad_core.store.schema import RunRecord

SAMPLES = [
    Sample(f"{category}/train/good/{k:03d}.png", "parts", category, "train", Path(f"{k}.png"), None, 0, "good")
    for category in ("bolt", "felt")
    for k in range(6)
]


@pytest.fixture
def run(made_up_store, tmp_path: Path) -> RunRecord:
    (one,) = comparisons(open_store(made_up_store(tmp_path, methods=("winclip",), shots=(0, 2), seeds=1)))
    record = one.entries(2)[0].runs[0]
    data = {**record.protocol.data, "listing": listing_hash(SAMPLES)}
    return dataclasses.replace(record, protocol=dataclasses.replace(record.protocol, data=data))


def test_the_same_list_of_images_gives_the_same_draw(run: RunRecord) -> None:
    found = references_of(run, "bolt", SAMPLES)
    assert found == draw_references([s for s in SAMPLES if s.category == "bolt"], 2, 0)


def test_another_list_of_images_is_refused_with_a_reason(run: RunRecord) -> None:
    found = references_of(run, "bolt", SAMPLES[1:])
    assert isinstance(found, Missing)
    assert "other images" in found.reason


def test_without_the_data_set_or_without_references_there_are_none(run: RunRecord) -> None:
    assert "not on this machine" in references_of(run, "bolt", []).reason
    zero = dataclasses.replace(run, key=dataclasses.replace(run.key, shots=0))
    assert "draws none" in references_of(zero, "bolt", SAMPLES).reason
