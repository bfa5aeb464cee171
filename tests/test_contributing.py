"""The lists of CONTRIBUTING.md name files that are there, and miss none that says it is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlmad_core.methods import list_methods

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GUIDES = dict(re.findall(r"^## Add a (\w+(?: \w+)?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def paths(line: str) -> list[str]:
    return [name for name in re.findall(r"`([\w./]+)`", line) if "/" in name or name == "app.py"]


def test_there_is_a_guide_for_each_thing_that_is_added() -> None:
    assert list(GUIDES) == ["method", "feature", "data set", "metric", "number", "fault", "view"]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_that_is_named_is_there(guide: str) -> None:
    steps = re.split(r"^- ", GUIDES[guide], flags=re.MULTILINE)[1:]
    assert len(steps) >= 3
    for step in steps:
        for name in paths(step):
            place = ROOT / name
            there = place.parent if "NAME" in place.name or "NAME" in name else place
            assert there.exists(), f"{guide}: {name} is not there"


def test_every_method_has_the_files_that_the_guide_names() -> None:
    new = [name for line in GUIDES["method"].splitlines() if line.startswith("- new:") for name in paths(line)[:1]]
    card = next(name for name in new if "/cards/" in name)
    for method in list_methods():
        assert (ROOT / card.replace("NAME", method)).is_file()


def test_no_file_outside_of_those_named_lists_the_methods() -> None:
    """Who adds a method finds each place in the guide: a file that names five methods is a list of them."""
    allowed = {
        "vlmad_core/methods",
        "vlmad_core/cards.py",
        "vlmad_core/training",
        "vlmad_core/bench",
        "vlmad_core/cli.py",
    }
    found = []
    for path in [*ROOT.glob("vlmad_core/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"]:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        named = {method for method in list_methods() if f'"{method}"' in text}
        if len(named) >= 4 and not any(name.startswith(place) for place in allowed):
            found.append((name, sorted(named)))
    assert found == []
