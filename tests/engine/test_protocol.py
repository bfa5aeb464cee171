"""A run's name holds the hash of its protocol, so what was stored is found again only as long as that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.methods import create_method, list_methods

BUNDLED = Path(__file__).parents[2] / "results" / "bundled"


@pytest.mark.parametrize("dataset", ["bundled_a", "bundled_b"])
def test_the_bundled_runs_would_be_called_the_same_today(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # parameters that were trained here are not those of the bundled runs
    methods = [name for name in list_methods() if create_method(name).own_backbone is None]
    values = {"datasets": [dataset], "methods": methods, "shots": [0, 1, 2, 4, 8], "seeds": 2, "store": tmp_path}
    planned = {run.record.id for run in build_plan(make_options(values)).runs}
    stored = {path.parent.relative_to(BUNDLED).as_posix() for path in BUNDLED.glob(f"{dataset}/*/run.json")}
    assert len(planned) > 20
    assert planned <= stored
