"""The examples run as their files stand, and say something that is so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
LESS = {
    "compare_methods.py": ["--categories", "wood"],
    "own_method.py": ["--categories", "wood"],
    "judge_photos.py": [],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_runs(example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *LESS[example]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VLMAD_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if example == "judge_photos.py":
        assert done.stdout.count("sees most at") >= 4
        assert "Patch memory" in done.stdout
    elif example == "compare_methods.py":
        values = [line for line in done.stdout.splitlines() if line.startswith("image_auroc")]
        assert len(values) == 2
        assert all("[" in line for line in values)
    else:
        assert "odd_patch" in done.stdout
        assert "musc" in done.stdout
        (run,) = (tmp_path / "example_results" / "bundled_a").glob("odd_patch-*")
        assert (run / "wood" / "grids.npz").is_file()
