"""What SECURITY.md and docs/deploy.md promise is there."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from vlmad_core import paths

ROOT = Path(__file__).parents[1]


def test_every_test_that_is_named_exists_and_every_threat_has_one() -> None:
    rows = re.findall(r"^\| (?!threat|-)(.+?) \| .+ \| (.+) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert len(rows) > 15
    for threat, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert named, threat
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_every_variable_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert [name for name in paths.VARIABLES if f"`{name}`" not in guide] == []


def test_neither_image_nor_package_takes_secrets_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored.index("**/secrets.toml") > max(k for k, line in enumerate(ignored) if line.startswith("!"))
    assert "secret" not in re.sub(r"#.*", "", (ROOT / "Dockerfile").read_text()).lower()
    assert "/.streamlit/secrets.toml" in (ROOT / ".gitignore").read_text().splitlines()
    for name in ("app.py", "asgi.py", ".streamlit/config.toml", ".streamlit/secrets.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    taken = runpy.run_path(str(ROOT / "setup.py"))["shipped_files"]()
    assert taken == [".streamlit/config.toml", "app.py", "asgi.py"]


def test_all_ways_to_start_go_through_the_gate() -> None:
    """``vlmad app`` starts ``asgi.py``; the others start ``vlmad app``."""
    assert "python -m vlmad_core app" in (ROOT / "Makefile").read_text()
    assert '"vlmad_core", "app"' in (ROOT / "Dockerfile").read_text()
    for file in ("Makefile", "Dockerfile", "README.md", "docs/deploy.md"):
        assert "streamlit run" not in (ROOT / file).read_text()
