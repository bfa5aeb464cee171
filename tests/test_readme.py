"""What the README tells a newcomer to type, typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def section(heading: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything of the section was saved and typed, in its order."""
    folder = tmp_path_factory.mktemp("desk")
    text = section("Add your method in ten minutes")
    names = iter(re.findall(r"`(my_\w+\.py)`:", text))
    script = ["set -e", f'export PATH="{Path(sys.executable).parent}:$PATH" PYTHONPATH="{ROOT}"']
    for kind, content in BLOCK.findall(text):
        if kind == "python":
            (folder / next(names)).write_text(content, encoding="utf-8")
        else:
            script.append(content)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, "VLMAD_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_method_in_a_file_gives_a_run_with_scores_beside_the_others(desk: Path) -> None:
    runs = sorted(path.parent.name for path in (desk / "results" / "bundled_a").glob("*/run.json"))
    assert [name.split("-")[0] for name in runs] == ["brightness", "mean_distance", "patch_memory"]
    units = list((desk / "results" / "bundled_a").glob("mean_distance-*/*/unit.json"))
    assert len(units) == 6


def test_maps_of_another_program_are_measured_and_marked(desk: Path) -> None:
    import pandas as pd

    (run,) = (desk / "results" / "bundled_a").glob("brightness-*")
    assert json.loads((run / "run.json").read_text())["provenance"]["data"]["imported"]["origin"] == "my own program"
    metrics = pd.read_parquet(run / "wood" / "metrics.parquet").set_index("metric")["value"]
    assert metrics["pixel_auroc"].between(0.5, 1, inclusive="neither").all()  # faults of wood are dark or bright


def test_the_report_holds_both(desk: Path) -> None:
    text = (desk / "report.html").read_text(encoding="utf-8")
    assert "Distance from the mean" in text
    assert "brightness (imported)" in text
