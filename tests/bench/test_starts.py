"""The benchmark of starts: what it says, when it calls a target missed, and its shortest process for real."""

from __future__ import annotations

import pytest

from vlmad_core.bench import starts
from vlmad_core.cli import main
from vlmad_core.errors import VlmadError


def test_the_least_of_several_is_held_against_the_targets(monkeypatch, capsys) -> None:
    met = iter([9.0, 0.1])
    monkeypatch.setattr(starts, "_round", lambda: dict.fromkeys(starts.TARGETS, next(met)) | {"loading torch": 2.0})
    assert main(["bench", "starts", "--repeats", "2"]) == 0
    said = capsys.readouterr().out
    assert "vlmad --help                          0.10 s    (target 1.0 s)" in said
    assert "loading torch                         2.00 s\n" in said
    assert said.endswith("all targets met\n")
    monkeypatch.setattr(starts, "_round", lambda: dict.fromkeys(starts.TARGETS, 0.7))
    assert main(["bench", "starts", "--repeats", "1"]) == 1
    assert capsys.readouterr().out.endswith("missed: a further image\n")


def test_a_process_that_fails_is_said() -> None:
    with pytest.raises(VlmadError, match=r"-c raise SystemExit\('no'\) failed: no"):
        starts._python(["-c", "raise SystemExit('no')"])
    assert main(["bench", "starts", "--repeats", "0"]) == 1


def test_a_panel_with_references_is_timed(monkeypatch) -> None:
    monkeypatch.setenv("VLMAD_CACHE_DIR", "none")
    monkeypatch.setattr(starts, "REFERENCES", 2)
    figures = starts.with_references()
    assert figures.keys() == {"2 references, cold", "a further image"}
    assert min(figures.values()) > 0
