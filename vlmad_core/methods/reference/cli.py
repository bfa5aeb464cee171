"""``python -m vlmad_core check-reference DIR``: our method against stored outputs of a public code."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from vlmad_core.methods.reference.folder import ReferenceFolder, read_reference
from vlmad_core.methods.reference.outputs import Output, anomaly_clip_outputs, april_gan_outputs, winclip_outputs

TOLERANCE = 1e-4
"""Largest absolute difference on scores, maps and tokens."""
EMBEDDING_TOLERANCE = 1e-5
"""Largest absolute difference on unit-normalised embeddings."""

CHECKS: Mapping[str, Callable[[ReferenceFolder], Iterator[Output]]] = MappingProxyType(
    {"winclip": winclip_outputs, "april_gan": april_gan_outputs, "anomaly_clip": anomaly_clip_outputs}
)
"""For each method a function that yields (name, ours, theirs)."""

_SCORES = ("score", "map")
_OUTPUTS = re.compile(r".*(embeddings|features|patch_tokens|stage_tokens|_map|image_score).*")
"""Names of stored tensors that are outputs; all others are inputs."""


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


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        method: The method.
        outputs: The difference per output, by name.
        not_compared: Stored outputs that this program does not make, so that nothing can be said of them.
    """

    method: str
    outputs: Mapping[str, Difference]
    not_compared: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether anything was compared, and all of it is within tolerance."""
        return bool(self.outputs) and all(difference.ok for difference in self.outputs.values())


def check_reference(path: Path) -> Outcome:
    """Run our method on a reference folder.

    Args:
        path: A folder with ``<method>.json``, ``<method>.safetensors``, an OpenCLIP checkpoint, and prompts.

    Raises:
        VlmadError: If the folder can't be used.
    """
    reference = read_reference(path, tuple(CHECKS))
    outputs = {name: _difference(name, ours, theirs) for name, ours, theirs in CHECKS[reference.method](reference)}
    stored = sorted(name for name in reference.tensors if _OUTPUTS.fullmatch(name))
    return Outcome(reference.method, outputs, tuple(name for name in stored if name not in outputs))


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
    outcome = check_reference(args.folder)
    if args.json:
        shown = {name: asdict(difference) for name, difference in outcome.outputs.items()}
        found = {"method": outcome.method, "outputs": shown, "ok": outcome.ok}
        print(json.dumps({**found, "not_compared": list(outcome.not_compared)}, indent=2))
        return 0 if outcome.ok else 1
    print(f"{outcome.method}: largest absolute difference per output")
    for name, difference in outcome.outputs.items():
        figure = "not comparable" if difference.max_abs is None else f"{difference.max_abs:.1e}"
        verdict = "ok" if difference.ok else "TOO FAR"
        print(f"  {name:32s} {figure:>14s}   allowed {difference.tolerance:.0e}   {verdict}")
    for name in outcome.not_compared:
        print(f"  {name:32s} not compared: this program makes no such output")
    print("agrees" if outcome.ok else "does not agree")
    return 0 if outcome.ok else 1
