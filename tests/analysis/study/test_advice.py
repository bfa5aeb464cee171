"""The advice follows from constraints and results."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vlmad_core.analysis.study.advice import Constraints, advise, references_at_hand, summary


@pytest.fixture
def parts(results: Any, made_up: Any) -> Any:
    return results(
        [
            made_up("clip_ac", 0.70, latency=5.0),
            made_up("clip_cpe", 0.69, latency=8.0),
            made_up("winclip", 0.80, latency=80.0),
            made_up("april_gan", 0.85, latency=20.0, trained=("others",)),
            made_up("musc", 0.95, latency=30.0),
            made_up("patch_memory", 0.90, shots=4, latency=12.0),
        ]
    )


def taken(parts: Any, **wanted: Any) -> list[str]:
    return [one.entry.method for one in advise(*parts, Constraints(**wanted)) if one.recommended]


def why(parts: Any, method: str, **wanted: Any) -> str:
    (one,) = (one for one in advise(*parts, Constraints(**wanted)) if one.entry.method == method)
    return one.reason


def test_without_references_the_front_of_what_fits(parts: Any) -> None:
    assert taken(parts) == ["april_gan", "clip_ac"]
    assert "april_gan" in why(parts, "winclip")  # better and quicker
    assert why(parts, "patch_memory").startswith("needs 4 normal images")
    assert "before it judges" in why(parts, "musc")


def test_each_constraint_changes_it(parts: Any) -> None:
    assert taken(parts, shots=4) == ["patch_memory", "clip_ac"]
    assert taken(parts, may_train=False) == ["winclip", "clip_ac"]
    assert taken(parts, all_at_once=True) == ["musc", "april_gan", "clip_ac"]
    assert taken(parts, latency_ms=15.0) == ["clip_ac"]
    assert why(parts, "winclip", latency_ms=15.0) == "takes 80 ms per image"
    assert taken(parts, latency_ms=1.0) == []


def test_the_summary_says_the_best_and_the_quick(parts: Any) -> None:
    text = summary(advise(*parts, Constraints()), Constraints())
    assert text.startswith("Take april_gan: 8")
    assert "where time is short, clip_ac" in text
    assert "Not clearly better" not in text
    nothing = Constraints(latency_ms=1.0)
    assert summary(advise(*parts, nothing), nothing) == "Nothing that was measured fits these constraints."


def test_only_categories_of_the_kind_count(parts: Any, results: Any) -> None:
    store, one = parts
    store.frame.loc[
        store.frame["run_id"].str.contains("clip_ac") & store.frame["category"].isin(["felt", "wood"]), "value"
    ] = 0.99
    assert taken((store, one), kind="texture")[0] == "clip_ac"
    assert taken((store, one), kind="object")[0] == "april_gan"


def test_what_was_trained_on_these_images_is_never_advised(results: Any, made_up: Any) -> None:
    parts = results([made_up("april_gan", 0.99, trained=("parts",)), made_up("clip_ac", 0.6)])
    assert taken(parts) == ["clip_ac"]
    assert why(parts, "april_gan") == "was trained on the images it is judged on"


def test_without_latencies_only_accuracy_counts(results: Any, made_up: Any) -> None:
    parts = results([made_up("clip_ac", 0.6, latency=None), made_up("winclip", 0.8, latency=None)])
    assert taken(parts) == ["winclip"]
    assert why(parts, "winclip", latency_ms=50.0) == "its latency was not measured"


def test_what_is_not_clearly_behind_is_said(results: Any, made_up: Any) -> None:
    store, one = results([made_up("clip_ac", 0.800), made_up("clip_cpe", 0.8001), made_up("winclip", 0.60)])
    found = advise(store, one, Constraints())
    text = summary(found, Constraints())
    assert re.search(r"Not clearly better than (clip_ac|clip_cpe) \(over categories\)\.$", text), text


@pytest.mark.parametrize(("measured", "first"), [([0, 1, 4, 8], 4), ([0, 2], 2), ([0], 0), ([8, 16], 8)])
def test_advice_begins_with_the_references_at_hand(results: Any, made_up: Any, measured: list[int], first: int) -> None:
    _, one = results([made_up("winclip", 0.8, shots=shots) for shots in measured])
    assert references_at_hand(one) == first
