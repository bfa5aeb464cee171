"""Making the bundled data sets in MVTec AD layout.

The shipped files are the truth: floating-point rendering may differ in the last digit between processors and
library versions, and WebP encoders differ between versions. ``dataset.json`` holds a hash of each image's decoded
pixels, by which the shipped files are checked; a rebuild agrees with them to within a small tolerance.
"""

from __future__ import annotations

import argparse
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.datasets.images import pixel_hash
from vlmad_core.errors import DatasetError
from vlmad_core.factory.renderer.camera import Photograph, take_normal, take_pair
from vlmad_core.factory.renderer.defects import ALL_DEFECTS
from vlmad_core.factory.renderer.domains import DOMAINS, STRUCTURAL, Category, build_item, draw_shot

SIZE = 224
QUALITY = 84
SEED = 20
ATTEMPTS = 60
AREA = (0.0025, 0.3)
"""Least and largest share of the picture a fault may take."""
HELD_OUT = (
    "The held-out split: no choice in training or tuning (data, losses, weights, prompts, stopping) was made on these "
    "categories; they are looked at only when a result is final."
)


@dataclass(frozen=True)
class Counts:
    """Pictures per category: normal in training, normal in testing, and of each defect type."""

    train: int = 20
    good: int = 24
    per_defect: int = 9


def render_normal(category: Category, domain: str, seed: int, number: int, size: int = SIZE) -> Photograph:
    """Render undamaged picture ``number`` of a category; training and test pictures have their own numbers."""
    rng = _rng(seed, domain, category.name, "normal", number)
    shot = draw_shot(category, rng, size, _look_seed(seed, domain, category.name))
    return take_normal(build_item(category, shot), shot.light, shot.camera, shot.frame, rng)


def render_defective(
    category: Category, domain: str, defect: str, seed: int, number: int, size: int = SIZE
) -> tuple[Photograph, Photograph]:
    """Render damaged picture ``number`` of a type, and the same item undamaged.

    Raises:
        DatasetError: If no attempt gives a visible defect (a category and a defect that don't go together).
    """
    rng = _rng(seed, domain, category.name, defect, number)
    look = _look_seed(seed, domain, category.name)
    for _ in range(ATTEMPTS):
        shot = draw_shot(category, rng, size, look)
        normal = build_item(category, shot)
        extent = float(np.exp(rng.uniform(*np.log(category.extent))))
        strength = float(rng.uniform(*category.strength))
        if defect in STRUCTURAL:
            damaged = build_item(category, shot, defect)
        else:
            damaged = ALL_DEFECTS[defect](normal, shot.frame, rng, extent, strength)
        pictures = take_pair(normal, damaged, shot.light, shot.camera, shot.frame, rng, area=AREA)
        if pictures is not None:
            return pictures
    raise DatasetError(
        f"No visible {defect} could be rendered on {category.name} of {domain}.",
        "Give the category another defect type or a wider range of sizes.",
    )


def build_bundled(out: Path, domain: str, seed: int = SEED, counts: Counts | None = None, size: int = SIZE) -> Path:
    """Render a bundled data set.

    Args:
        out: Folder to write to; the data set becomes its subfolder ``domain``.
        domain: ``bundled_a`` or ``bundled_b``.
        seed: Seed of everything; the shipped sets use the default.
        counts: How many pictures of each sort.
        size: Pixels per side.

    Returns:
        The data set's folder, with ``dataset.json`` written last.

    Raises:
        DatasetError: If the domain is unknown.
    """
    if domain not in DOMAINS:
        raise DatasetError(f"There is no synthetic domain {domain!r}.", f"Use one of {', '.join(DOMAINS)}.")
    root = out / domain
    number_of = counts or Counts()
    pixels: dict[str, str] = {}
    for category in DOMAINS[domain].categories:
        folder = root / category.name
        total = number_of.train + number_of.good
        for number in range(total):
            picture = render_normal(category, domain, seed, number, size)
            part, stem = ("train", number) if number < number_of.train else ("test", number - number_of.train)
            _save_image(root, folder / part / "good" / f"{stem:03d}.webp", picture.image, pixels)
        for defect in category.defects:
            for number in range(number_of.per_defect):
                _, picture = render_defective(category, domain, defect, seed, number, size)
                _save_image(root, folder / "test" / defect / f"{number:03d}.webp", picture.image, pixels)
                _save_mask(folder / "ground_truth" / defect / f"{number:03d}_mask.png", picture.mask)
    (root / "dataset.json").write_text(json.dumps(_describe(domain, seed, pixels), indent=1) + "\n")
    return root


def _describe(domain: str, seed: int, pixels: dict[str, str]) -> dict[str, Any]:
    categories = {
        category.name: {
            "kind": category.kind,
            "reserved": category.reserved,
            "defect_types": list(category.defects),
        }
        for category in DOMAINS[domain].categories
    }
    held_out = sorted(category.name for category in DOMAINS[domain].categories if category.reserved)
    return {
        "name": domain,
        "licence": "Apache-2.0",
        "redistributable": True,
        "synthetic": True,
        "description": DOMAINS[domain].description,
        "generator": "vlmad_core.factory.renderer.build",
        "seed": seed,
        "categories": categories,
        **({"held_out": {"categories": held_out, "statement": HELD_OUT}} if held_out else {}),
        "pixels": dict(sorted(pixels.items())),
    }


def _save_image(root: Path, path: Path, image: NDArray[np.uint8], pixels: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, "WEBP", quality=QUALITY, method=6)
    with Image.open(path) as stored:
        pixels[path.relative_to(root).as_posix()] = pixel_hash(stored)


def _save_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, "PNG", optimize=True)


def _code(*words: str) -> int:
    return zlib.crc32("/".join(words).encode())


def _rng(seed: int, domain: str, category: str, sort: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, _code(domain, category, sort), number])


def _look_seed(seed: int, domain: str, category: str) -> tuple[int, ...]:
    return (seed, _code(domain, category, "look"))


def main(argv: list[str] | None = None) -> int:
    """Command line: render one or both bundled data sets into a folder."""
    parser = argparse.ArgumentParser(description="Render the bundled data sets.")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--domain", choices=list(DOMAINS), action="append", help="default: both")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args(argv)
    for domain in arguments.domain or list(DOMAINS):
        build_bundled(arguments.out, domain, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
