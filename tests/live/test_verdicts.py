"""Verdicts with the origin of their thresholds, and the one scale of maps side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.errors import MetricError
from vlmad_core.live.panel import LivePrediction, Normals
from vlmad_core.live.verdicts import WITHIN_IMAGE, Opinion, find_yardstick, give_opinion, scales
from vlmad_core.store.reader import open_store


@dataclass(frozen=True)
class MadeUpBackbone:
    weights_hash: str = f"{'bundled':0>16}"
    image_size: int = 64
    precision: str = "float32"
    activation: str = "gelu"


def prediction(name: str = "winclip:canonical", score: float = 0.6, **changes) -> LivePrediction:
    return LivePrediction(name, "WinCLIP", 0, image_score=score, **changes)


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory):
    path: Path = made_up_store(tmp_path_factory.mktemp("store"), datasets=("widgets", "gadgets"))
    return open_store(path)


def test_a_stored_run_of_the_same_method_backbone_and_category_is_found(store) -> None:
    found = comparisons(store)
    rule = find_yardstick(store, found, MadeUpBackbone(), prediction(), "Bolt ")
    assert rule is not None
    assert rule.thresholds["image_f1max"].value == 0.5
    assert rule.scale is not None
    assert rule.place == "bolt of gadgets"
    assert find_yardstick(store, found, MadeUpBackbone(), prediction(), "bolt", "widgets").place == "bolt of widgets"
    for other in (
        find_yardstick(store, found, MadeUpBackbone(), prediction("winclip:accurate"), "bolt"),
        find_yardstick(store, found, MadeUpBackbone(), prediction(), "something else"),
        find_yardstick(store, found, MadeUpBackbone(weights_hash="1" * 16), prediction(), "bolt"),
        find_yardstick(store, found, MadeUpBackbone(image_size=65), prediction(), "bolt"),
    ):
        assert other is None


def test_own_thresholds_go_before_references_and_these_before_stored_runs(store) -> None:
    rule = find_yardstick(store, comparisons(store), MadeUpBackbone(), prediction(), "bolt")
    told = prediction(normals=Normals((0.1, 0.2, 0.7)))
    with_all = give_opinion(told, rule, own=0.55)
    assert [t.origin for t in with_all.thresholds[:2]] == ["user", "normal_references"]
    assert with_all.verdict.anomalous
    by_references = give_opinion(told, rule)
    assert by_references.verdict.threshold.origin == "normal_references"
    assert by_references.verdict.threshold.value > 0.7
    assert not by_references.verdict.anomalous
    preferred = give_opinion(told, rule, prefer="stored_run")
    assert preferred.verdict.threshold.origin == "stored_run"
    assert "bolt of gadgets" in preferred.verdict.threshold.detail
    assert preferred.verdict.anomalous
    assert give_opinion(told, rule, own=0.9, prefer="stored_run").verdict.threshold.origin == "user"


def test_without_any_threshold_there_is_no_verdict_but_a_reason() -> None:
    none = give_opinion(prediction(normals=Normals(reason="There are no normal references.")))
    assert none.verdict is None
    assert "There are no normal references." in none.reason
    assert "no stored run" in none.reason
    failed = give_opinion(LivePrediction("x", "x", 0, error="broken"))
    assert failed.verdict is None
    assert failed.reason == "broken"


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(MetricError):
        give_opinion(prediction(), own=float("nan"))


def opinion(name: str, low: float, high: float, normal: bool) -> Opinion:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    normals = Normals((0.1, 0.2), (values / 2, values / 2)) if normal else Normals()
    return give_opinion(prediction(f"{name}:canonical", anomaly_map=values, normals=normals))


def test_maps_are_compared_with_normal_pixels_where_every_map_can_be() -> None:
    kind, found = scales([opinion("a", 0, 1, True), opinion("b", 0, 5, True)], "normal")
    assert kind == "normal"
    assert "2 normal references" in found["a:canonical"].title
    np.testing.assert_allclose(
        found["a:canonical"].place(np.array([0.3])), found["b:canonical"].place(np.array([1.5])), atol=0.02
    )
    kind, found = scales([opinion("a", 0, 1, True), opinion("b", 0, 5, False)], "normal")
    assert kind == "image"
    assert {one.title for one in found.values()} == {WITHIN_IMAGE}


def test_raw_scores_share_one_scale() -> None:
    kind, found = scales([opinion("a", 0, 1, True), opinion("b", -1, 5, True)], "raw")
    assert kind == "raw"
    assert found["a:canonical"] == found["b:canonical"]
    assert found["a:canonical"].knots == (-1.0, 5.0)


def test_methods_without_a_map_need_no_scale() -> None:
    assert scales([give_opinion(prediction())], "normal") == ("normal", {})
