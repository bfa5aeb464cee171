"""Data sets that come as Python packages: where their files lie, without importing the package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True)
class DataPackage:
    """A package that ships images.

    Attributes:
        distribution: What to install.
        module: Its top-level module.
        folder: Where the data lie in it.
        synthetic: True if the images are simulated.
    """

    distribution: str
    module: str
    folder: str
    synthetic: bool


PACKAGED: Mapping[str, DataPackage] = MappingProxyType(
    {
        "elpv": DataPackage("elpv-dataset", "elpv_dataset", "data", False),
        "textile": DataPackage("conformal-clip-data", "conformal_clip_data", "data/textile_images/simulated", True),
    }
)


def package_root(name: str) -> Path | None:
    """The data folder of an installed data package, or None if it is not installed."""
    package = PACKAGED[name]
    spec = importlib.util.find_spec(package.module)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent / package.folder
    return root if root.is_dir() else None
