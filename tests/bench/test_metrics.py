from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from vlmad_core.bench import metrics as bench
from vlmad_core.metrics import aupro_legacy200, order_pixels


def call(*options: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return bench.run(parser.parse_args(list(options)))


def test_all_that_is_timed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--size", "smoke", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["judged"] is False
    assert {"numpy", "scikit-learn", "cpus", "anomalib"} <= set(record["environment"])
    assert len(record["targets"]) == 3
    for case in ("large", "small"):
        timings = [timing for timing in record["timings"] if timing["case"] == case]
        ours = timings[0]["values"]
        assert set(ours) == {"pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_30", "aupro_05"}
        assert all(timing["seconds"] > 0 for timing in timings)
        legacy = [timing["values"].get("aupro_legacy200") for timing in timings]
        known = [value for value in legacy if value is not None]
        assert len(known) == (3 if case == "small" else 1)
        assert known == pytest.approx([known[0]] * len(known), abs=1e-9)
        for timing in timings:
            if timing["what"].startswith("scikit-learn"):
                ((name, value),) = timing["values"].items()
                assert value == pytest.approx(ours[name], abs=1e-9)


def test_readable_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--size", "smoke") == 0
    out = capsys.readouterr().out
    assert "not judged at this size" in out
    assert "scikit-learn: AUROC" in out
    assert "200-step loop" in out


@pytest.mark.parametrize("label_once", [True, False])
def test_the_loop_is_the_legacy_metric(label_once: bool) -> None:
    maps, masks = bench.made_up_case(8, 32, seed=3)
    assert bench.stepwise_aupro(maps, masks, label_once=label_once) == pytest.approx(
        aupro_legacy200(order_pixels(maps, masks)).value, abs=1e-9
    )


def test_made_up_maps_are_repeatable_and_hold_both_kinds_of_image() -> None:
    maps, masks = bench.made_up_case(8, 48)
    again = bench.made_up_case(8, 48)
    assert np.array_equal(maps, again[0])
    assert np.array_equal(masks, again[1])
    assert masks.any(axis=(1, 2)).tolist() == [True, True, True, False] * 2
    assert maps.dtype == np.float32


def test_a_missed_target_is_said() -> None:
    def timing(case: str, what: str, seconds: float, memory: float | None = None) -> bench.Timing:
        return bench.Timing(case, what, seconds, {}, memory)

    timings = [
        timing("large", "ours: all pixel metrics", 6.0, 3.5),
        timing("small", "ours: all pixel metrics", 1.0, 1.0),
        timing("large", "scikit-learn: AUROC", 5.0),
        timing("large", "scikit-learn: AP", 5.0),
        timing("small", bench.LOOP, 25.0),
    ]
    found = bench.targets(timings)
    assert [target.measured for target in found] == [0.6, 25.0, 3.5]
    assert [target.ok for target in found] == [False, True, False]
