"""A few visitors at once for a few seconds: that each gets what is its own. No times are held against anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

DRIVER = Path(__file__).with_name("load.py")


def test_each_of_several_visitors_gets_his_own_answers(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    words = ["--viewers", "3", "--demo", "2", "--seconds", "8", "--think", "0.2", "1", "--out", str(out)]
    run = subprocess.run([sys.executable, str(DRIVER), *words], capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["errors"] == figures["wrong"] == 0
    assert figures["sessions"] >= 5
    assert figures["kinds"]["result pages"]["answers"] >= 3
    assert figures["kinds"]["live demo"]["answers"] + sum(figures["refused"].values()) >= 2
