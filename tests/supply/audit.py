"""Ask whether advisories are known for a locked version: ``make audit``, which brings pip-audit along.

Exit codes: 0 nothing is known, or the advisories can't be reached from here, which is said; 1 something is known.
Continuous integration says what is found and goes on: an advisory is published on a day of its own, and must not keep
an unrelated change, or the mending one, from landing. A release needs an audit that was reached and found nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.supply.locks import LOCKS, ROOT, locked

SECONDS = 120
"""Longest time for all questions together."""


def pinned(root: Path) -> list[str]:
    """Every locked version, as NAME==VERSION, and torch's."""
    found = {f"{name}=={version}" for lock in LOCKS.values() for name, version in locked(root, lock).items()}
    (torch,) = re.findall(r"^torch==\S+$", (root / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return sorted({*found, torch})


def judge(report: Mapping[str, Any]) -> tuple[int, list[str]]:
    """What a report of pip-audit comes to: the exit code, and what to say.

    Args:
        report: Its json: ``dependencies`` with ``name``, ``version`` and ``vulns``, or ``skip_reason``.
    """
    entries: Sequence[Mapping[str, Any]] = report.get("dependencies", [])
    asked = [entry for entry in entries if "skip_reason" not in entry]
    if not asked:
        return 0, ["AUDIT SKIPPED: the advisories can't be reached from here; nothing was checked."]
    known = [(entry, one) for entry in asked for one in entry["vulns"]]
    said = [
        f"VULNERABLE: {entry['name']} {entry['version']}: {one['id']}"
        f" (mended in {', '.join(one['fix_versions']) or 'no version yet'})"
        for entry, one in known
    ]
    unknown = [str(entry["name"]) for entry in entries if "skip_reason" in entry]
    if unknown:
        said.append(f"NOT CHECKED: {', '.join(unknown)}: the source of advisories does not know them.")
    if known:
        said.append("Take the mended ones: make lock UPGRADE='--upgrade-package NAME'.")
    else:
        said.append(f"No advisory is known for {len(asked)} locked packages.")
    return (1 if known else 0), said


def audit(root: Path, command: Sequence[str]) -> tuple[int, list[str]]:
    """Ask about all locked versions of a checkout; gives the exit code, and what to say.

    Args:
        root: The checkout.
        command: What runs pip-audit.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pinned.txt"
        listed.write_text("\n".join(pinned(root)), encoding="utf-8")
        options = ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        try:
            done = subprocess.run(
                [*command, *options, "-r", str(listed)], capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return 0, [f"AUDIT SKIPPED: no answer within {SECONDS} seconds; nothing was checked."]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return 0, [f"AUDIT SKIPPED: pip-audit gave no answer ({last[0]}); nothing was checked."]
    return judge(report)


if __name__ == "__main__":
    code, lines = audit(ROOT, [sys.executable, "-m", "pip_audit"])
    print("\n".join(lines), flush=True)
    sys.exit(code)
