from __future__ import annotations

import pytest

from vlmad_core.analysis.contamination import judge_contamination


@pytest.mark.parametrize(
    ("evaluated", "backbone", "method", "verdict"),
    [
        (["visa"], [], (), "clean"),
        (["visa"], ["imagenet"], ["mvtec_ad"], "clean"),
        (["visa"], ["imagenet"], ["visa"], "contaminated"),
        (["bottle_photos", "mvtec_ad"], [], ["mvtec"], "contaminated"),
        (["visa"], ["visa"], None, "contaminated"),
        (["visa"], None, (), "unknown"),
        (["visa"], [], None, "unknown"),
    ],
)
def test_verdict(evaluated: list[str], backbone: list[str] | None, method: list[str] | None, verdict: str) -> None:
    assert judge_contamination(evaluated, backbone, method).verdict == verdict


def test_unknown_says_what_is_unknown() -> None:
    assert "the backbone" in judge_contamination(["visa"], None, ()).reason
    assert "the method's parameters" in judge_contamination(["visa"], [], None).reason
