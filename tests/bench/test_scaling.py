from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from vlmad_core.bench import scaling
from vlmad_core.bench.scaling import Run, TimedRun, markdown, runs_of
from vlmad_core.cli import main
from vlmad_core.errors import VlmadError


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    scaling.add_arguments(parser)
    return parser.parse_args(words)


def test_one_thing_is_varied_while_all_else_is_held() -> None:
    runs = list(runs_of(asked("--images", "10", "20", "--threads", "1", "2")))
    assert [run.images for run in runs if run.axis == "images"] == [10, 20, 10, 20]
    assert len({run.words for run in runs if run.axis == "images"}) == 2  # with MuSc, and without
    threads = [run for run in runs if run.axis == "threads"]
    differing = set(threads[0].words) ^ set(threads[1].words)
    assert differing == {"1", "2"}
    assert all("--threads 2" in run.command for run in runs if run.axis not in ("threads",))
    assert [run.what for run in runs if run.axis == "methods"][-1].endswith("musc")
    assert {run.axis for run in runs_of(asked("--axis", "shots"))} == {"shots"}


def test_the_table_stands_beside_its_commands() -> None:
    run = Run("threads", "2", 60, ("--method", "clip_ac", "--threads", "2"))
    stages = {"vision": 1.0, "scoring": 0.5, "text": 0.25}
    table = markdown(
        [TimedRun(run, 4.0, stages, 2**30)], {"hardware": {"processor": "P", "cores": 2}, "load_average": 1}
    )
    assert "| threads | seconds | starting up | vision | windows | scoring | metrics | rest | memory (MB) |" in table
    assert "| 2 | 4.0 | 0.0 | 1.0 | 0.0 | 0.5 | 0.0 | 2.5 | 1024 |" in table
    assert "python -m vlmad_core precompute --dataset parts60 --method clip_ac --threads 2" in table
    assert "| images |" not in table


def test_commands_are_run(tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--axis", "threads", "--threads", "1", "--backbone", str(tiny_clip), "--data", str(tmp_path), "--json"]
    assert main(["bench", "scaling", *words]) == 0
    assert (tmp_path / "parts60" / "part00" / "test").is_dir()
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seconds"] >= sum(row["stages"].values()) * 0.9
    assert row["stages"]["windows"] > 0


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(VlmadError, match=r"This failed: python -m vlmad_core precompute .*--method nothing"):
        scaling.measure(Run("methods", "nothing", 4, ("--method", "nothing")), tmp_path)
