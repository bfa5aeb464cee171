"""The benchmark of the live demo: what it says, and when it calls a target missed."""

from __future__ import annotations

import pytest

from vlmad_core.bench.live import ALL, FIRST, METHODS, run, text
from vlmad_core.cli import main
from vlmad_core.errors import VlmadError
from vlmad_core.methods import list_methods


def figures(first: float, whole: float) -> dict:
    return {
        "methods": list(METHODS),
        "first_result_seconds": first,
        "all_results_seconds": whole,
        "server_processor_seconds": 1.5,
        "first_visitor_seconds": [first, first, whole, whole],
        "visitors_seconds": [[first, whole]],
        "ok": first <= FIRST and whole <= ALL,
        "cores": 2,
        "threads": 2,
        "load_before": 0.1,
    }


def test_the_figures_are_told_beside_their_targets() -> None:
    said = text(figures(0.4, 1.9))
    assert "first result after upload, median   0.40 s    (target 1.0 s)" in said
    assert "all four methods, median            1.90 s    (target 3.0 s)" in said
    assert said.endswith("all targets met")
    assert text(figures(0.4, 3.1)).endswith("a target is missed")


@pytest.mark.parametrize(("whole", "code"), [(2.0, 0), (9.0, 1)])
def test_a_missed_target_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, whole: float, code: int) -> None:
    monkeypatch.setattr("vlmad_core.bench.live.measure", lambda images, backbone: figures(0.2, whole))
    assert main(["bench", "live", "--repeats", "1"]) == code


def test_every_method_of_the_benchmark_is_there() -> None:
    assert set(METHODS) <= set(list_methods())
    assert len(METHODS) == 4


def test_nothing_to_measure_is_refused() -> None:
    class Given:
        repeats, backbone, json = 0, None, False

    with pytest.raises(VlmadError, match="nothing to measure"):
        run(Given())  # type: ignore[arg-type]
    assert main(["bench", "live", "--repeats", "9999"]) == 1
