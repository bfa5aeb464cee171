from __future__ import annotations

import dataclasses

import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics import METRICS, MetricValue
from vlmad_core.metrics.spec import aupro_name

NAMES = [
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "aupro_30",
    "aupro_05",
    "aupro_legacy200",
]


def test_exactly_the_metrics_of_the_store() -> None:
    assert list(METRICS) == NAMES
    assert all(spec.name == name for name, spec in METRICS.items())


def test_mapping_and_specs_are_read_only() -> None:
    with pytest.raises(TypeError):
        METRICS["other"] = METRICS["aupro_30"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["aupro_30"].label = "other"  # type: ignore[misc]


def test_aupro_states_limit_and_connectivity() -> None:
    for name, percent, limit in (("aupro_30", "30%", "0.30"), ("aupro_05", "5%", "0.05")):
        spec = METRICS[name]
        assert percent in spec.label
        assert "8-conn" in spec.label
        assert limit in spec.definition
        assert "8-connected" in spec.definition
    legacy = METRICS["aupro_legacy200"]
    assert "200" in legacy.label
    assert "legacy" in legacy.label
    assert "8-connected" in legacy.definition


def test_every_spec_is_complete() -> None:
    labels = {spec.label for spec in METRICS.values()}
    assert len(labels) == len(METRICS)
    for spec in METRICS.values():
        assert spec.level == ("image" if spec.name.startswith("image") else "pixel")
        assert spec.bounds == (0.0, 1.0)
        assert spec.higher_is_better
        assert len(spec.definition) > 60
        assert spec.source
        assert ("oracle" in spec.definition) == ("f1max" in spec.name)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.5, float("nan")])
def test_limit_out_of_range(limit: float) -> None:
    with pytest.raises(MetricError, match="outside"):
        aupro_name(limit)


def test_limit_names_never_collide() -> None:
    limits = [0.003, 0.03, 0.05, 0.3, 0.305, 0.35, 1.0]
    assert len({aupro_name(limit) for limit in limits}) == len(limits)


def test_a_missing_value_is_not_zero() -> None:
    value = MetricValue(None, "no anomalous images", n=3)
    assert value.value is None
    assert value.low is None
    assert value.reason
