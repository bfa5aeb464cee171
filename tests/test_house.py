from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("house", ROOT / "tests" / "house.py")
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(house)


def test_the_checkout_keeps_the_house_rules() -> None:
    assert list(house.breaches(ROOT)) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("vlmad_core/metrics/long.py", "x = 1\n" * 401, "401 lines, more than 400"),
        ("pages/leaderboard.py", "x = 1\n" * 201, "201 lines, more than 200"),
        ("pages/_ui/utils.py", "", "name it for what it holds"),
        ("vlmad_core/live/page.py", "def show():\n    import streamlit as st\n", "page.py:2 imports streamlit"),
        ("vlmad_core/live/page.py", "from streamlit.runtime import get_instance\n", "imports streamlit"),
        ("vlmad_core/store/reader.py", "class Sample:\n    pass\n", "class Sample is in"),
    ],
)
def test_each_breach_is_named(tmp_path: Path, file: str, text: str, said: str) -> None:
    sound = {
        "app.py": "import streamlit\n",
        "asgi.py": "import streamlit\n",
        "pages/overview.py": "x = 1\n" * 200,
        "pages/_ui/frame.py": "x = 1\n" * 300,
        "vlmad_core/datasets/sample.py": "class Sample:\n    pass\n",
    }
    for name, content in sound.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert list(house.breaches(tmp_path)) == []
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    (breach,) = house.breaches(tmp_path)
    assert said in breach


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    """No Docker is needed to see that a file that moved would break the image."""
    steps = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines()]
    copied = [
        source
        for step in steps
        if step[:1] == ["COPY"]
        for source in [word for word in step[1:] if not word.startswith("--")][:-1]
    ]
    assert {"app.py", "asgi.py", "pages", "vlmad_core", "requirements.txt", "results/bundled"} <= set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    # `!` takes back what a line above left out: everything is left out but what is copied.
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)


def test_the_image_serves_the_dashboard_as_an_ordinary_user() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root|0)\w+$", text, re.MULTILINE)
    assert "/_stcore/health" in text
    store = re.search(r"VLMAD_STORE=(\S+)", text)
    assert store is not None
    assert f'VOLUME ["{store[1]}"]' in text
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    version = re.search(r"^FROM python:3\.(\d+)", text, re.MULTILINE)
    assert version is not None
    assert int(version[1]) >= int(python.removeprefix(">=3."))


def test_hooks_run_what_the_environment_has() -> None:
    """Hooks are local: committing needs no network and checks with the versions that are pinned."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = " ".join(hook["entry"] for hook in hooks[0]["hooks"])
    for command in ("ruff check", "ruff format", "mypy", "lint-imports", "tests/house.py"):
        assert command in entries


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_target_of_make_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    # Where make runs the tests, a make inside says which folder it is in.
    words = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == set(targets[1].split())
    assert all(len(line.split()) > 2 for line in shown.splitlines())


def test_the_rules_can_be_checked_by_hand() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "house.py")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
