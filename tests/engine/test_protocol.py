"""A run's name holds the hash of its protocol, so what was stored is found again only as long as that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.methods import create_method, list_methods
from vlmad_core.metrics.uncertainty import INTERVAL_FORM
from vlmad_core.store.reader import open_store

BUNDLED = Path(__file__).parents[2] / "results" / "bundled"


@pytest.mark.parametrize("dataset", ["bundled_a", "bundled_b"])
def test_the_bundled_runs_would_be_called_the_same_today(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # parameters that were trained here are not those of the bundled runs
    methods = [name for name in list_methods() if create_method(name).own_backbone is None]
    values = {"datasets": [dataset], "methods": methods, "shots": [0, 1, 2, 4, 8], "seeds": 2, "store": tmp_path}
    planned = [run.record for run in build_plan(make_options(values)).runs]
    stored = {run.id: run for run in open_store(BUNDLED).runs}
    forms = {str(run.protocol.evaluation["bootstrap"].get("interval")) for run in stored.values()}
    assert len(planned) > 20
    if forms == {INTERVAL_FORM}:
        assert {record.id for record in planned} <= set(stored)
    else:  # made before intervals took this form, which is all that may differ
        assert forms == {"None"}
        competitors = {(run.key, run.protocol.competitor) for run in stored.values()}
        assert {(record.key, record.protocol.competitor) for record in planned} <= competitors


def test_quicker_similarities_are_a_protocol_of_their_own_and_are_planned(tmp_path: Path):
    values = {"datasets": ["bundled_a"], "methods": ["patch_memory"], "shots": 1, "store": tmp_path}
    (usual,), (quicker,) = (
        build_plan(make_options({**values, "similarities": name})).runs for name in ("float32", "tf32")
    )
    assert usual.record.protocol.hash != quicker.record.protocol.hash
    assert (usual.record.plan.get("similarities"), quicker.record.plan["similarities"]) == (None, "tf32")
