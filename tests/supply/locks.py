"""Write the lock files: ``make lock``, which brings uv along.

What ``requirements.txt``, ``requirements-dev.txt`` and ``requirements-tools.txt`` name is resolved for Linux, macOS and
Windows at once, with all that it needs, and written with the SHA-256 of every file the index offers. Versions that a
lock has already stay as long as they fit; ``make lock UPGRADE=--upgrade`` takes the newest. torch is in no lock: its
CPU build differs from index to index, so it is installed by its version alone, and what its other builds bring along
comes with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = {"requirements.txt": "requirements.lock", "requirements-dev.txt": "requirements-dev.lock"} | {
    "requirements-tools.txt": "requirements-tools.lock"
}
"""Lock by what it locks; that of ``requirements-dev.txt`` holds what comes on top of the application's."""

LEFT_OUT = re.compile(r"torch|triton|cuda-.*|nvidia-.*")
"""torch, and what its builds for graphics cards need."""

IN_BROWSERS = "sys_platform == 'emscripten'"
"""Packages for Python inside a browser, where nothing of this runs."""

HEAD = "# Written by `make lock`. Install with --require-hashes --no-deps; torch by its version in requirements.txt.\n"
_BLOCK = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ \\\n]+).*\n(?: {4}--hash=.*\n)*", re.MULTILINE)


def blocks(text: str) -> dict[str, str]:
    """The entries of a lock by package: the pinned line with its hashes."""
    return {found[1]: found[0] for found in _BLOCK.finditer(text)}


def locked(root: Path, name: str) -> dict[str, str]:
    """Versions by package in a lock, those that it takes from another lock included."""
    text = (root / name).read_text(encoding="utf-8")
    own = {found[1]: found[2] for found in _BLOCK.finditer(text)}
    for other in re.findall(r"^-r (\S+)$", text, re.MULTILINE):
        own |= locked(root, other)
    return own


def resolve(uv: str, root: Path, name: str, known: str, more: Sequence[str]) -> dict[str, str]:
    """What a list of requirements comes to, as entries of a lock by package.

    Args:
        uv: The program.
        root: The checkout.
        name: The list's file.
        known: Entries whose versions are kept where they fit.
        more: Further arguments of ``uv pip compile``.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock.txt"
        out.write_text(known, encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
        subprocess.run([*command, "--output-file", out, *more, name], cwd=root, check=True)
        found = blocks(out.read_text(encoding="utf-8"))
    return {name: block for name, block in found.items() if not LEFT_OUT.fullmatch(name) and IN_BROWSERS not in block}


def write(uv: str, root: Path, more: Sequence[str] = ()) -> None:
    """Write all locks of a checkout."""
    app_lock, dev_lock, tools_lock = (root / name for name in LOCKS.values())
    # The larger one is resolved first, and the application takes its entries: so both hold the same versions.
    together = resolve(uv, root, "requirements-dev.txt", _entries(app_lock) + _entries(dev_lock), more)
    app = resolve(uv, root, "requirements.txt", "".join(together.values()), ())
    tools = resolve(uv, root, "requirements-tools.txt", _entries(tools_lock), more)
    app_lock.write_text(HEAD + "".join(together[package] for package in app), encoding="utf-8")
    on_top = [block for package, block in together.items() if package not in app]
    dev_lock.write_text(f"{HEAD}-r {app_lock.name}\n" + "".join(on_top), encoding="utf-8")
    tools_lock.write_text(HEAD + "".join(tools.values()), encoding="utf-8")


def _entries(lock: Path) -> str:
    return "".join(blocks(lock.read_text(encoding="utf-8")).values()) if lock.is_file() else ""


if __name__ == "__main__":
    write(sys.argv[1], ROOT, sys.argv[2:])
