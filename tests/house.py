"""The house rules that no other tool checks: ``python tests/house.py`` names each breach, with its fix.

Run by ``make lint`` and before each commit.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

LONGEST_FILE, LONGEST_VIEW = 400, 200
"""Most lines of a file, and of a view's script, which lays out and computes nothing."""


def breaches(root: Path) -> Iterator[str]:
    """What breaks a rule in a checkout, as sentences that name the file and the fix."""
    classes: dict[str, list[Path]] = defaultdict(list)
    for path in _sources(root):
        place, text = path.relative_to(root), path.read_text(encoding="utf-8")
        lines, most = text.count("\n"), LONGEST_VIEW if place.parent == Path("pages") else LONGEST_FILE
        if lines > most:
            yield f"{place} has {lines} lines, more than {most}: divide it by purpose."
        if path.name == "utils.py":
            yield f"{place}: name it for what it holds."
        if place.parts[0] != "vlmad_core":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(place)
            elif isinstance(node, ast.Import | ast.ImportFrom) and "streamlit" in _imported(node):
                yield f"{place}:{node.lineno} imports streamlit: what draws on a page belongs into pages/."
    for name, places in classes.items():
        if len(places) > 1:
            yield f"class {name} is in {' and '.join(map(str, places))}: name each for what it is."


def _sources(root: Path) -> list[Path]:
    """The Python files of the library, the dashboard and the tests."""
    folders = [root / name for name in ("vlmad_core", "pages", "tests")]
    return [root / "app.py", root / "asgi.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The packages an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names}


if __name__ == "__main__":
    found = list(breaches(Path(__file__).parents[1]))
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(1 if found else 0)
