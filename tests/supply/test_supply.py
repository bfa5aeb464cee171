"""What is installed is locked, what is known of it is asked, and whose it is stands in a list."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.supply import audit, licences, locks

ROOT = locks.ROOT
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def lock_text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def direct(name: str) -> dict[str, Requirement]:
    """What a list of requirements pins, by package."""
    lines = [line.partition("#")[0].strip() for line in lock_text(name).splitlines()]
    asked = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {licences.plain_name(one.name): one for one in asked}


@pytest.mark.parametrize(("listed", "lock"), locks.LOCKS.items())
def test_a_lock_has_the_versions_that_are_listed_and_torch_is_in_none(listed: str, lock: str) -> None:
    found = locks.locked(ROOT, lock)
    asked = {name: one for name, one in direct(listed).items() if name != "torch"}
    assert asked
    assert {name: str(one.specifier) for name, one in asked.items()} == {n: f"=={found[n]}" for n in asked}
    assert not [name for name in found if locks.LEFT_OUT.fullmatch(name) or name == "torchvision"]


@pytest.mark.parametrize("lock", locks.LOCKS.values())
def test_every_line_of_a_lock_has_hashes(lock: str) -> None:
    text = lock_text(lock)
    entries = locks.blocks(text)
    assert [name for name, block in entries.items() if not HASH.search(block)] == []
    others = [line for line in text.splitlines() if not line.startswith((" ", "#", "-r requirements.lock"))]
    assert [line.partition("==")[0] for line in others] == list(entries), "nothing else is installed"
    wrong = [line for line in text.splitlines() if line.startswith(" ") and not HASH.search(line)]
    assert wrong == []


def test_a_lock_has_whatever_a_package_in_it_needs() -> None:
    """As the metadata of what is installed here says; pip is told to add nothing."""
    found = {**locks.locked(ROOT, "requirements-dev.lock"), "torch": "2", "pip": "23"}
    asked: dict[str, list[Requirement]] = {}
    for one in licences.metadata.distributions():
        name = licences.plain_name(one.metadata["Name"])
        if name in found and name != "pip":
            asked[name] = [Requirement(text) for text in one.requires or []]
    assert {"torch", "streamlit", "transformers", "pytest"} <= asked.keys()
    missing = [
        (name, str(one))
        for name, needs in asked.items()
        for one in needs
        if (one.marker is None or one.marker.evaluate({"extra": ""})) and licences.plain_name(one.name) not in found
    ]
    assert missing == []


def test_what_is_installed_by_make_and_in_the_image_comes_from_a_lock() -> None:
    make, image = lock_text("Makefile"), lock_text("Dockerfile")
    assert "--require-hashes --no-deps -r" in make
    assert re.findall(r"\$\(LOCKED\) (\S+)", make) == ["requirements.lock", *list(locks.LOCKS.values())[1:]]
    assert "pip install --require-hashes --no-deps -r requirements.lock" in image
    rest = re.findall(r"pip install (?!--require-hashes)[^&\n]*", image) + re.findall(r"\$\(INSTALL\) (.+)", make)
    assert all("torch" in line.lower() or "--require-hashes" in line for line in rest), "but for torch"


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([], 0, "AUDIT SKIPPED"),
        ([{"name": "a", "version": "1", "skip_reason": "not found"}], 0, "AUDIT SKIPPED"),
        ([{"name": "a", "version": "1", "vulns": []}], 0, "No advisory is known for 1 locked packages."),
        (
            [
                {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
                {"name": "b", "version": "1", "skip_reason": "not found"},
            ],
            1,
            "VULNERABLE: a 1: PYSEC-1 (mended in 2)\nNOT CHECKED: b",
        ),
    ],
)
def test_what_is_known_is_said_and_what_could_not_be_asked_too(
    dependencies: list[dict[str, Any]], code: int, said: str
) -> None:
    found, lines = audit.judge({"dependencies": dependencies})
    assert found == code
    assert said in "\n".join(lines)


def test_all_locked_versions_are_asked_about_and_a_broken_answer_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = tmp_path / "echo.py"
    echo.write_text(
        "import json, sys\n"
        "names = open(sys.argv[-1]).read().split()\n"
        "rows = [{'name': n, 'version': '1', 'vulns': [{'id': n, 'fix_versions': []}]} for n in names]\n"
        "print(json.dumps({'dependencies': rows}))\n"
    )
    code, lines = audit.audit(ROOT, [sys.executable, str(echo)])
    text = "\n".join(lines)
    assert code == 1
    for name, version in locks.locked(ROOT, "requirements-dev.lock").items():
        assert f" {name}=={version} " in text
    assert re.search(r" torch==\d", text)
    echo.write_text("import sys; sys.exit('no route to host')")
    code, lines = audit.audit(ROOT, [sys.executable, str(echo)])
    assert (code, lines) == (0, ["AUDIT SKIPPED: pip-audit gave no answer (no route to host); nothing was checked."])
    monkeypatch.setattr(audit, "SECONDS", 0.2)
    echo.write_text("import time; time.sleep(30)")
    code, lines = audit.audit(ROOT, [sys.executable, str(echo)])
    assert code == 0
    assert "AUDIT SKIPPED: no answer within" in lines[0]


def test_every_tracked_file_is_in_one_row() -> None:
    try:
        files = licences.tracked(ROOT)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this is no checkout, so nobody knows which files are tracked: {error}")
    assert len(files) > 1000
    wrong = {name: len(rows) for name in files if len(rows := licences.rows_of(name)) != 1}
    assert wrong == {}, "give it a pattern in SHIPPED of tests/supply/licences.py, with its origin and licence"


def test_the_document_is_what_the_script_writes() -> None:
    document = lock_text(licences.DOCUMENT)
    known = licences.listed(document)
    assert licences.needed(ROOT).keys() <= known.keys(), "run `make lock`"
    assert "\n".join(licences.lines(ROOT, known)) + "\n" == document, "run `python -m tests.supply.licences`"


def test_the_document_says_what_packages_say() -> None:
    known, here = licences.listed(lock_text(licences.DOCUMENT)), licences.installed(sys.path)
    locked = locks.locked(ROOT, "requirements-dev.lock")
    both = [name for name in locked if name in here and licences.metadata.version(name) == locked[name]]
    assert len(both) > 50
    assert {name: known[name] for name in both} == {name: here[name] for name in both}, "run `make lock`"


def test_a_licence_is_read_where_a_package_states_it(tmp_path: Path) -> None:
    texts = {
        "One": "License-Expression: MIT",
        "Two_2": "License: BSD\nClassifier: License :: OSI Approved :: BSD License",
        "Three": "License: Copyright (c)\n        all of it\nClassifier: License :: OSI Approved :: ISC License (ISCL)",
        "Four": "Summary: says nothing",
    }
    for name, text in texts.items():
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{text}\n")
    assert licences.installed([str(tmp_path)]) == {
        "one": "MIT",
        "two-2": "BSD",
        "three": "ISC License (ISCL)",
        "four": "not stated",
    }
    with pytest.raises(SystemExit, match="is not known"):
        list(licences.lines(ROOT, {}))
