from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmad_core.metrics.cli import add_arguments, check_folder, run


def call(folder: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(folder), *options]))


@pytest.fixture
def folder(golden_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden_folder, tmp_path / "metrics"))


def change(folder: Path, **changes: Any) -> None:
    path = folder / "expected.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_case(folder: Path, case: str, metric: str, value: object) -> None:
    cases = json.loads((folder / "expected.json").read_text())["cases"]
    cases[case][metric] = value
    change(folder, cases=cases)


def test_golden_values_agree(golden_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(golden_folder) == 0
    out = capsys.readouterr().out
    assert "All 27 values agree" in out
    assert out.count("aupro_200_steps_authors") == 3
    assert "fewer than two" in out
    checks = check_folder(golden_folder)
    assert max(check.difference for check in checks if check.difference is not None) < 1e-6


def test_json(golden_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(golden_folder, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] is True
    assert set(record["cases"]) == {"smooth", "ties", "narrow"}
    legacy = record["cases"]["narrow"]["aupro_200_steps_authors"]
    assert (legacy["value"], legacy["expected"], legacy["ok"]) == (None, None, True)
    assert legacy["tolerance"] == 1e-4
    assert record["cases"]["ties"]["pixel_ap"]["tolerance"] == 1e-6


@pytest.mark.parametrize(
    ("case", "metric", "value"),
    [
        ("smooth", "pixel_ap", 0.4800605863007789 + 2e-6),
        ("ties", "aupro_200_steps_authors", 0.7376335903189233 + 2e-4),
        ("narrow", "aupro_200_steps_authors", 0.5),
        ("smooth", "image_auroc", None),
        ("smooth", "image_auroc", float("nan")),
    ],
)
def test_a_difference_beyond_tolerance_fails(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str, metric: str, value: float | None
) -> None:
    change_case(folder, case, metric, value)
    assert call(folder) == 1
    out = capsys.readouterr().out
    assert "1 beyond tolerance" in out
    (line,) = [line for line in out.splitlines() if "FAILED" in line]
    assert line.split()[:2] == [case, metric]


def test_a_difference_within_tolerance_passes(folder: Path) -> None:
    change_case(folder, "ties", "aupro_200_steps_authors", 0.7376335903189233 + 5e-5)
    assert call(folder) == 0


def test_missing_folder_and_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder / "nowhere") == 1
    assert "expected.json: can't be read (no such file)" in capsys.readouterr().err
    (folder / "cases.npz").unlink()
    assert call(folder, "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"] is False
    assert "cases.npz: can't be read (no such file)" in captured.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"connectivity": 4}, "connectivity 4"),
        ({"image_score": "mean of the map"}, "image score"),
        ({"fpr_limit": "high"}, "fpr_limit"),
        ({"fpr_limit": 2}, "outside"),
        ({"cases": {}}, "no cases"),
        ({"cases": {"other": {"pixel_ap": 0.5}}}, "other_maps"),
        ({"cases": {"smooth": {"pixel_iou": 0.5}}}, "pixel_iou"),
        ({"cases": {"smooth": {"pixel_ap": "half"}}}, "half"),
        ({"cases": {"smooth": 1}}, "not an object"),
    ],
)
def test_settings_and_names_that_do_not_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    change(folder, **changes)
    assert call(folder) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"maps": np.zeros((1, 2, 2)), "masks": np.zeros((1, 2, 3))}, r"\[N, H, W\]"),
        ({"maps": np.zeros((1, 2, 2), int), "masks": np.zeros((1, 2, 2))}, "floating point"),
        ({"maps": np.zeros((1, 2, 2)), "masks": np.full((1, 2, 2), 255)}, "other values than 0 and 1"),
        ({"maps": np.array([None]), "masks": np.zeros((1, 2, 2))}, "can't be read"),
        ({"maps": np.full((1, 2, 2), np.nan), "masks": np.zeros((1, 2, 2))}, "not finite"),
    ],
)
def test_arrays_that_do_not_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(folder / "cases.npz", **{f"a_{name}": value for name, value in arrays.items()})  # type: ignore[arg-type]
    change(folder, cases={"a": {"pixel_ap": 0.5}})
    assert call(folder) == 1
    assert message.strip("\\").replace("\\", "") in capsys.readouterr().err


def test_damaged_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (folder / "cases.npz").read_bytes()
    for damaged in (content[:1000], b"", b"not an archive"):
        (folder / "cases.npz").write_bytes(damaged)
        assert call(folder) == 1
        assert "cases.npz can't be read" in capsys.readouterr().err
    (folder / "expected.json").write_text("{")
    assert call(folder) == 1
    assert "expected.json can't be read" in capsys.readouterr().err
    (folder / "expected.json").write_text("[]")
    assert call(folder) == 1
    assert "not a JSON object" in capsys.readouterr().err
