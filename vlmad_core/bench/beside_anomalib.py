"""WinCLIP beside anomalib's: the same random weights, the same images, turn by turn.

anomalib lives in another environment (see ``anomalib_side``); its process and this one stay loaded. Each pair of runs
gives one ratio, so that what disturbs the machine disturbs both; their median is what counts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.info import Precision
from vlmad_core.backbones.open_clip import to_open_clip
from vlmad_core.bench import anomalib_side
from vlmad_core.bench.alone import forms_of
from vlmad_core.bench.architectures import PREFIX, random_backbone
from vlmad_core.engine.session import judge
from vlmad_core.errors import VlmadError
from vlmad_core.methods import Predictions, anomaly_maps, create_method
from vlmad_core.methods.winclip import WinClip
from vlmad_core.prompts.prototypes import TextClasses

ARCHITECTURE = "vit-b-16-plus-240"
"""The one that anomalib's WinCLIP is written for."""

VERSIONS = {"anomalib": "2.7.0", "open_clip_torch": "2.24.0"}
"""What the comparison was written for; other versions are measured too, and said."""

BATCHES, PAIRS = (2, 8), 5
MAP_LIMIT = 1e-4
"""Largest difference of maps in float32 for the two to count as the same method."""

INSTALL = f"Make one: python -m venv ENV; ENV/bin/pip install {' '.join(f'{k}=={v}' for k, v in VERSIONS.items())}"


@dataclass(frozen=True)
class TheirProcess:
    """anomalib's process, loaded and waiting."""

    process: subprocess.Popen[str]
    folder: Path
    packages: dict[str, str]

    def run(self, batch: int, autocast: Precision | None, *, keep: bool = False) -> float:
        """Seconds of one batch; ``keep`` has its maps written as well."""
        return float(_ask(self.process, batch=batch, autocast=autocast, keep=keep)["seconds"])

    def kept(self) -> dict[str, Tensor]:
        """Scores [N] and maps [N, S, S] of the last batch that was kept."""
        kept: dict[str, Tensor] = torch.load(self.folder / anomalib_side.MAPS, weights_only=True)
        return kept


@dataclass(frozen=True)
class OurSide:
    """Our WinCLIP on the same weights, pixels and prototypes.

    Attributes:
        backbone: The backbone.
        pixels: [N, 3, S, S] float32, on its device.
        prototypes: [2, e] unit vectors: normal, abnormal.
    """

    backbone: ClipBackbone
    pixels: Tensor
    prototypes: Tensor

    def judged(self, batch: int) -> tuple[Predictions, Tensor]:
        """From pixels in memory to scores and full-size maps, as anomalib does it."""
        method = create_method("winclip:anomalib")
        assert isinstance(method, WinClip)
        words = TextClasses((), (), self.prototypes, self.prototypes)
        features = self.backbone.encode_images(self.pixels[:batch], method.needs(self.backbone.info, 0))
        predictions = judge(method.scorer(words), features)
        assert predictions.grids is not None
        assert predictions.map_rule is not None
        side = self.backbone.info.image_size
        return predictions, anomaly_maps(predictions.grids, predictions.map_rule, (side, side))

    def run(self, batch: int) -> float:
        """Seconds of one batch."""
        wait(self.backbone.device)
        start = time.perf_counter()
        self.judged(batch)
        wait(self.backbone.device)
        return time.perf_counter() - start


def beside_anomalib(
    python: Path,
    device: torch.device,
    precisions: Sequence[Precision],
    batches: Sequence[int] = BATCHES,
    pairs: int = PAIRS,
    *,
    compiled: bool = False,
) -> dict[str, Any]:
    """Time both, one after the other.

    Args:
        python: Interpreter of an environment with anomalib and open_clip_torch.
        device: Where both compute.
        precisions: Of ours; anomalib computes in float32, and in the others under autocast as well.
        batches: Images passed together.
        pairs: Runs of each, alternating, after one that is not counted.
        compiled: Whether our windows are timed in their compiled form as well, where that is open.

    Returns:
        Plain values: ``packages`` there, ``architecture``, ``rows`` (precision, form of our windows, autocast of
        theirs, batch, ``ratios`` of our throughput to theirs pair by pair, their ``median``, ``ours`` and ``theirs`` in
        images per second, ``score_difference`` and ``map_difference``, the largest), ``map_limit``, ``ok`` (maps agree
        in float32).

    Raises:
        VlmadError: If that environment can't be run.
    """
    generator = torch.Generator().manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory(prefix="vlmad-anomalib-") as place:
        exact = random_backbone(ARCHITECTURE, "float32", device=device)
        side = exact.info.image_size
        pixels = torch.randn(max(batches), 3, side, side, generator=generator)
        prototypes = F.normalize(torch.randn(2, exact.info.embed_dim, generator=generator), dim=-1)
        torch.save(_on_cpu(to_open_clip(exact.model.state_dict())), Path(place) / anomalib_side.WEIGHTS)
        torch.save({"pixels": pixels, "prototypes": prototypes}, Path(place) / anomalib_side.GIVEN)
        with their_process(python, Path(place), device) as theirs:
            packages = theirs.packages
            for precision in precisions:
                backbone = exact if precision == "float32" else random_backbone(ARCHITECTURE, precision, device=device)
                for form in forms_of(backbone, compiled):
                    formed = replace(backbone, window_form=form)
                    ours = OurSide(formed, pixels.to(device), prototypes.to(device))
                    for autocast in (None,) if precision == "float32" else (None, precision):
                        rows += [_compared(ours, theirs, batch, autocast, pairs) for batch in batches]
    exactly = [row["map_difference"] for row in rows if row["precision"] == "float32"]
    return {
        "architecture": PREFIX + ARCHITECTURE,
        "packages": packages,
        "rows": rows,
        "map_limit": MAP_LIMIT,
        "ok": all(difference <= MAP_LIMIT for difference in exactly),
    }


def _compared(
    ours: OurSide, theirs: TheirProcess, batch: int, autocast: Precision | None, pairs: int
) -> dict[str, Any]:
    """Pairs of runs at one batch size, after one of each that shows whether they compute the same."""
    predictions, maps = ours.judged(batch)
    theirs.run(batch, autocast, keep=True)
    kept = theirs.kept()
    times = [(ours.run(batch), theirs.run(batch, autocast)) for _ in range(pairs)]
    ratios = [round(their / our, 4) for our, their in times]
    return {
        "precision": ours.backbone.info.precision,
        "form": ours.backbone.window_form,
        "autocast": autocast,
        "batch": batch,
        "ratios": ratios,
        "median": round(median(ratios), 4),
        "ours": round(batch / median(our for our, _ in times), 3),
        "theirs": round(batch / median(their for _, their in times), 3),
        "score_difference": float((predictions.image_score - kept["scores"]).abs().max()),
        "map_difference": float((maps.cpu() - kept["maps"]).abs().max()),
    }


@contextmanager
def their_process(python: Path, folder: Path, device: torch.device) -> Iterator[TheirProcess]:
    """Anomalib's process with the weights and images that lie in a folder.

    Raises:
        VlmadError: If it can't be started, or fails.
    """
    command = [str(python), "-W", "ignore", anomalib_side.__file__]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise VlmadError(f"{python} can't be run ({error.strerror}).", INSTALL) from error
    try:
        asked = {"folder": str(folder), "device": str(device), "threads": torch.get_num_threads()}
        yield TheirProcess(process, folder, _ask(process, **asked)["packages"])
    finally:
        process.kill()
        process.communicate()


def _ask(process: subprocess.Popen[str], **values: Any) -> dict[str, Any]:
    """One line to it and its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        print(json.dumps(values), file=process.stdin, flush=True)
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    told: dict[str, Any] = json.loads(answer) if answer else {"error": "it ended without a word"}
    if "error" in told:
        raise VlmadError(f"The other environment did not run anomalib: {told['error']}.", INSTALL)
    return told


def text_of(report: dict[str, Any]) -> str:
    """The comparison as lines."""
    named = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    lines = [f"WinCLIP beside anomalib's on {report['architecture']} ({named}); throughput, ours over theirs:"]
    for row in report["rows"]:
        theirs = f"anomalib {row['autocast']} (autocast)" if row["autocast"] else "anomalib float32"
        pairs = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        lines.append(
            f"  ours {row['precision']} ({row['form']}), {theirs}, "
            f"batch {row['batch']}: {row['median']:.2f} ({pairs}); "
            f"{row['ours']:.2f} and {row['theirs']:.2f} images/s; maps differ by {row['map_difference']:.1e}"
        )
    different = {
        name: version for name, version in report["packages"].items() if VERSIONS.get(name, version) != version
    }
    if different:
        lines.append(f"  written for {', '.join(f'{name} {VERSIONS[name]}' for name in different)}")
    if not report["ok"]:
        lines.append(f"  maps differ by more than {report['map_limit']:g} in float32: not the same method")
    return "\n".join(lines)


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in state.items()}
