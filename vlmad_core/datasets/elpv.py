"""ELPV: electroluminescence images of solar cells, with labels but no masks (package ``elpv-dataset``).

Experts gave each cell a probability of being defective: 0, 1/3, 2/3 or 1. Here 0 is normal, 2/3 (``probable``)
and 1 (``certain``) are defective; cells at 1/3, of which the experts were unsure, are left out. Mono- and
polycrystalline cells look different and are categories of their own. No split was published.

Source: Deitsch et al., Solar Energy 185, 2019.
"""

from __future__ import annotations

from pathlib import Path

from vlmad_core.datasets.folders import Listing
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset
from vlmad_core.datasets.splits import held_out

LAYOUT = "elpv"
EXPECTED = """\
labels.csv  (columns path, probability, mono|poly, separated by spaces)
images/cell0001.png …"""

_CATEGORIES = ("mono", "poly")


def recognises(root: Path) -> bool:
    """True where ``labels.csv`` names cells in ``images``."""
    labels = root / "labels.csv"
    if not labels.is_file() or not (root / "images").is_dir():
        return False
    with labels.open("rb") as file:
        return file.readline(200).split()[2:3] in ([b"mono"], [b"poly"])


def read(root: Path, name: str) -> Dataset:
    """List the cells."""
    listing = Listing(name, root)
    rows: list[tuple[str, float, str]] = []
    labels = root / "labels.csv"
    for number, line in enumerate(labels.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        parts = line.split()
        try:
            path, probability, category = parts[0], float(parts[1]), parts[2]
            if len(parts) != 3 or category not in _CATEGORIES or not 0 <= probability <= 1:
                raise ValueError(line)
        except (ValueError, IndexError):
            if parts:
                listing.problem("bad_label", labels, f"line {number} is not 'path probability type'; left out.")
            continue
        rows.append((path, probability, category))
    unsure = 0
    for category in _CATEGORIES:
        own = [(path, probability) for path, probability, kind in rows if kind == category]
        test = held_out((path for path, probability in own if probability == 0), f"{LAYOUT}/{category}")
        for path, probability in own:
            if 0 < probability < 0.5:
                unsure += 1
                continue
            normal = probability == 0
            listing.add(
                root / path,
                category=category,
                split="train" if normal and path not in test else "test",
                defect_type=NORMAL_TYPE if normal else "certain" if probability == 1 else "probable",
            )
    return Dataset(
        name=name,
        root=root,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
        licence="CC BY-NC-SA 4.0",
        category_kinds=dict.fromkeys(_CATEGORIES, "texture"),
        notes=(
            "No split was published: a fifth of the cells with defect probability 0, chosen by hash, is the"
            f" test split. {unsure} cells with probability 1/3 are left out.",
        ),
    )
