"""``python -m vlmad_core check-reference DIR``: our method against stored outputs of a public code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from vlmad_core.methods.reference.anomaly_clip import anomaly_clip_outputs
from vlmad_core.methods.reference.april_gan import april_gan_outputs
from vlmad_core.methods.reference.folder import ReferenceFolder, read_reference
from vlmad_core.methods.reference.winclip import winclip_outputs

TOLERANCE = 1e-4
"""Largest absolute difference on scores, maps and tokens."""
EMBEDDING_TOLERANCE = 1e-5
"""Largest absolute difference on unit-normalised embeddings."""

CHECKS: Mapping[str, Callable[[ReferenceFolder], Iterator[tuple[str, Tensor, Tensor]]]] = MappingProxyType(
    {"winclip": winclip_outputs, "april_gan": april_gan_outputs, "anomaly_clip": anomaly_clip_outputs}
)
"""For each method a function that yields (name, ours, theirs)."""

_SCORES = ("score", "map")


@dataclass(frozen=True)
class Difference:
    """How far one output is from the reference.

    Attributes:
        max_abs: Largest absolute difference; None if the shapes differ or ours is not finite.
        tolerance: What is allowed.
        ok: Whether it is within.
    """

    max_abs: float | None
    tolerance: float
    ok: bool


def check_reference(path: Path) -> tuple[str, dict[str, Difference]]:
    """Run our method on a reference folder.

    Args:
        path: A folder with ``<method>.json``, ``<method>.safetensors``, an OpenCLIP checkpoint, and prompts.

    Returns:
        The method, and the difference per stored output.

    Raises:
        VlmadError: If the folder can't be used.
    """
    reference = read_reference(path, tuple(CHECKS))
    return reference.method, {
        name: _difference(name, ours, theirs) for name, ours, theirs in CHECKS[reference.method](reference)
    }


def _difference(name: str, ours: Tensor, theirs: Tensor) -> Difference:
    is_score = any(word in name for word in _SCORES)
    tolerance = TOLERANCE if is_score else EMBEDDING_TOLERANCE
    if ours.shape != theirs.shape:
        return Difference(None, tolerance, ok=False)
    largest = float((ours.double() - theirs.double()).abs().max())
    finite = largest == largest and largest != float("inf")
    return Difference(largest if finite else None, tolerance, ok=finite and largest <= tolerance)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder with reference outputs of one method")
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Print the differences; 0 if all are within tolerance, else 1."""
    method, outputs = check_reference(args.folder)
    ok = bool(outputs) and all(difference.ok for difference in outputs.values())
    if args.json:
        shown = {name: asdict(difference) for name, difference in outputs.items()}
        print(json.dumps({"method": method, "outputs": shown, "ok": ok}, indent=2))
        return 0 if ok else 1
    print(f"{method}: largest absolute difference per output")
    for name, difference in outputs.items():
        figure = "not comparable" if difference.max_abs is None else f"{difference.max_abs:.1e}"
        verdict = "ok" if difference.ok else "TOO FAR"
        print(f"  {name:32s} {figure:>14s}   allowed {difference.tolerance:.0e}   {verdict}")
    print("agrees" if ok else "does not agree")
    return 0 if ok else 1
