"""The doctor command: a look at this machine, and what to do about what is found."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from vlmad_core import paths
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

Verdict = Literal["ok", "note", "problem"]

LEAST_MEMORY = 4 * 2**30
"""What precompute and the dashboard together are meant to stay below."""

LEAST_DISK = 2 * 2**30
LEAST_PYTHON = (3, 11)
DASHBOARD = ("streamlit", "plotly")
"""Packages without which everything but the dashboard works."""
HUB_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at.

    Attributes:
        name: What.
        verdict: ``ok``; ``note``: works, but worth knowing; ``problem``: something will not work.
        found: What was found.
        advice: What to do; empty if nothing.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--store", type=Path, nargs="+", default=paths.stores(), metavar="DIR", help="results folders")
    parser.add_argument("--offline", action="store_true", help="don't try to reach the model hub")
    parser.add_argument(
        "--accept-weights",
        metavar="HUB_ID",
        help="the weights of this hub model may be others than at first use; does nothing else",
    )
    parser.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """Look at everything and say what to do.

    Returns:
        0, or 1 if there is a problem.
    """
    if args.accept_weights is not None:
        from vlmad_core.backbones.holding import accept_weights

        accept_weights(args.accept_weights)
        print(f"The next weights of {args.accept_weights} are noted anew.")
        return 0
    checks: list[Callable[[], list[Diagnosis]]] = [
        check_versions,
        check_processor,
        check_memory,
        lambda: check_disk(Path.cwd()),
        check_backbone,
        check_teacher,
        check_cached_weights,
        check_held_weights,
        check_cached_features,
        lambda: [] if args.offline else check_hub(),
        check_data,
        check_parameters,
        check_variables,
        lambda: check_stores(args.store),
    ]
    findings = [finding for check in checks for finding in check()]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for f in findings:
            print(f"{f.verdict:<8}{f.name}: {f.found}" + (f"\n        -> {f.advice}" if f.advice else ""))
    return 1 if any(f.verdict == "problem" for f in findings) else 0


def check_versions() -> list[Diagnosis]:
    """Python and the packages, against the versions they were tested with."""
    from importlib import metadata, util

    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Diagnosis("Python", "ok", python)]
    if sys.version_info[:2] < LEAST_PYTHON:
        findings = [Diagnosis("Python", "problem", python, "Use Python 3.11 or newer.")]
    for name, wanted in tested_versions().items():
        dashboard = name in DASHBOARD
        how = paths.how_to_install("app" if dashboard else "")
        try:
            version = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            verdict: Verdict = "note" if dashboard else "problem"
            found = "not installed; only the dashboard needs it" if dashboard else "not installed"
            findings.append(Diagnosis(name, verdict, found, how))
            continue
        if wanted.contains(version, prereleases=True):
            findings.append(Diagnosis(name, "ok", version))
        else:
            findings.append(Diagnosis(name, "note", version, f"It was tested with {wanted}: {how}"))
    if util.find_spec("torchvision") is not None:
        advice = "If importing transformers fails, remove it; this program does not need it."
        findings.append(Diagnosis("torchvision", "note", "installed", advice))
    return findings


def check_processor() -> list[Diagnosis]:
    """Cores, instructions, and which precision is quick here."""
    import torch

    from vlmad_core.backbones.arithmetic import LEAST_GAIN, product_gain
    from vlmad_core.engine.provenance import hardware

    facts, gain = hardware(), product_gain("bfloat16")
    known = ", ".join(facts["features"]) or "no vector instructions that are known here"
    found = f"{facts['processor']}, {facts['cores']} cores, torch uses {torch.get_num_threads()} threads; {known}"
    findings = [Diagnosis("processor", "ok", found)]
    measured = f"matrix products in bfloat16 are {gain:.2g} times as quick as in float32 (measured)"
    if gain >= LEAST_GAIN:
        advice = (
            "--precision auto takes it where a pass is quicker too; it changes scores a little, and runs with it are "
            "kept apart."
        )
        findings.append(Diagnosis("precision", "ok", measured, advice))
    else:
        findings.append(Diagnosis("precision", "note", measured, "Stay with float32."))
    if torch.cuda.is_available():
        findings.append(Diagnosis("GPU", "ok", torch.cuda.get_device_name(0), "--device auto computes on it."))
    return findings


def check_memory() -> list[Diagnosis]:
    """Memory that is free now."""
    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} GB free of {memory.total / 2**30:.1f} GB"
    if memory.available < LEAST_MEMORY:
        return [Diagnosis("memory", "note", found, "Close other programs, or use --batch-size 4.")]
    return [Diagnosis("memory", "ok", found)]


def check_disk(folder: Path) -> list[Diagnosis]:
    """Room for results and weights."""
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GB free"
    if free < LEAST_DISK:
        advice = "Make room, or put results elsewhere with --store and weights with HF_HOME."
        return [Diagnosis("disk", "problem", found, advice)]
    return [Diagnosis("disk", "ok", found)]


def check_backbone() -> list[Diagnosis]:
    """Whether the bundled backbone loads and embeds."""
    from vlmad_core.backbones import load_backbone

    try:
        backbone = load_backbone("bundled")
        backbone.encode_text(["a part"])
    except VlmadError as error:
        return [Diagnosis("bundled backbone", "problem", error.problem, error.fix)]
    info = backbone.info
    found = f"{info.parameters / 1e6:.1f} million weights, {info.image_size} pixels, {info.weights_hash}"
    return [Diagnosis("bundled backbone", "ok", found)]


def check_teacher() -> list[Diagnosis]:
    """Whether the network of the reference without language is there; nothing else needs it."""
    from vlmad_core.backbones.teacher import load_teacher

    try:
        return [Diagnosis("ImageNet teacher", "ok", f"for teacher_memory; {load_teacher().content_hash}")]
    except VlmadError as error:
        return [Diagnosis("ImageNet teacher", "note", f"{error.problem} Only teacher_memory is missing.", error.fix)]


def check_cached_weights() -> list[Diagnosis]:
    """Hub models that are already on this machine."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return [Diagnosis("cached weights", "note", "none", "A hub id is fetched when it is first used.")]
    models = [
        f"{repo.repo_id} ({repo.size_on_disk / 2**20:.0f} MB)" for repo in cache.repos if repo.repo_type == "model"
    ]
    return [Diagnosis("cached weights", "ok" if models else "note", ", ".join(sorted(models)) or "none")]


def check_held_weights() -> list[Diagnosis]:
    """Hub models whose weights were noted at first use and are held against that."""
    from vlmad_core.backbones.holding import held_weights

    try:
        held = held_weights()
    except VlmadError as error:
        return [Diagnosis("held weights", "problem", error.problem, error.fix)]
    return [Diagnosis("held weights", "ok", f"{', '.join(held)}, in {paths.held_weights_file()}")] if held else []


def check_cached_features() -> list[Diagnosis]:
    """Features that earlier runs left on disk."""
    found = [_cached_features("cached features", paths.feature_folder(), "precompute --cache makes some.")]
    live = paths.live_folder()
    if live is not None:
        found.append(_cached_features("kept for the live demo", live, "The live demo and predict make some."))
    return found


def _cached_features(name: str, folder: Path, how: str) -> Diagnosis:
    from vlmad_core.backbones.feature_cache import FeatureFolder

    if not folder.is_dir():
        return Diagnosis(name, "ok", f"none in {folder}", how)
    filled = FeatureFolder(folder).filled_bytes()
    found = f"{filled / 2**20:.0f} MB in {folder}"
    if not os.access(folder, os.W_OK):
        return Diagnosis(name, "note", f"{found}, not writable", "Name another: VLMAD_CACHE_DIR.")
    return Diagnosis(name, "ok", found, "The folder may be removed at any time." if filled else "")


def check_hub() -> list[Diagnosis]:
    """Whether models can be fetched."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return [Diagnosis("model hub", "note", "HF_HUB_OFFLINE is set", "Unset it to fetch models.")]
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT).close()
    except OSError as error:
        advice = "Use the bundled backbone, or copy a model folder here and give its path to --backbone."
        return [Diagnosis("model hub", "note", f"not reachable ({error})", advice)]
    return [Diagnosis("model hub", "ok", constants.ENDPOINT)]


def check_data() -> list[Diagnosis]:
    """Data sets that can be loaded by name."""
    from vlmad_core.datasets import list_datasets

    entries = list_datasets()
    here = [entry.name for entry in entries if entry.available]
    advice = "" if paths.data_dir() else f"Name a folder of your own data sets in {paths.DATA_DIR}."
    return [Diagnosis("data sets", "ok" if here else "problem", ", ".join(here) or "none", advice)]


def check_parameters() -> list[Diagnosis]:
    """Trained parameters, in the order in which they are looked for."""
    from vlmad_core.methods.trained import verify_parameters

    folders = paths.parameter_folders()
    counts = [(folder, len(list(folder.glob("*/*.safetensors")))) for folder in folders]
    found = ", ".join(f"{count} in {paths.as_typed(folder)}" for folder, count in counts if count)
    findings = [
        Diagnosis("trained parameters", "ok" if found else "note", found or "none", "" if found else "Train some.")
    ]
    return findings + [
        Diagnosis("trained parameters", "problem" if problem.kind == "damaged" else "note", problem.message)
        for folder in folders
        for problem in verify_parameters(folder)
    ]


def check_variables() -> list[Diagnosis]:
    """The program's environment variables that are set; a name it does not know is likely misspelt."""
    given = {name: value for name, value in os.environ.items() if name.startswith("VLMAD_")}
    known = [f"{name}={value}" for name, value in given.items() if name in paths.VARIABLES]
    findings = [Diagnosis("variables", "ok", ", ".join(sorted(known)))] if known else []
    advice = f"Known are: {', '.join(paths.VARIABLES)}."
    return findings + [
        Diagnosis(name, "note", "is not read", advice) for name in sorted(set(given) - set(paths.VARIABLES))
    ]


def check_stores(folders: Sequence[Path]) -> list[Diagnosis]:
    """What the results folders hold, and what is wrong in them."""
    from vlmad_core.store.reader import open_store

    findings = []
    for path in folders:
        if not path.is_dir():
            findings.append(
                Diagnosis(f"results in {path}", "note", "none yet", "Make some: python -m vlmad_core precompute")
            )
            continue
        try:
            store = open_store(path)
        except VlmadError as error:
            findings.append(Diagnosis(f"results in {path}", "problem", error.problem, error.fix))
            continue
        units = sum(len(run.units) for run in store.runs)
        found = f"{len(store.runs)} runs, {units} units, {len(store.failed)} failed"
        if not store.problems:
            advice = "Start the same precompute command again." if store.failed else ""
            findings.append(Diagnosis(f"results in {path}", "note" if store.failed else "ok", found, advice))
            continue
        first = store.problems[0].message
        advice = f"First: {first} All: python -m vlmad_core results verify --store {path}"
        findings.append(Diagnosis(f"results in {path}", "problem", f"{found}, {len(store.problems)} problems", advice))
    return findings


def tested_versions() -> dict[str, SpecifierSet]:
    """By package: the version that a checkout pins, or the range that the installed package asks for."""
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    root = paths.checkout()
    try:
        lines = (
            (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
            if root
            else metadata.requires("vlm-ad") or []
        )
    except (OSError, metadata.PackageNotFoundError):
        return {}
    found = {}
    for line in lines:
        with contextlib.suppress(InvalidRequirement):  # a comment, or an empty line
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": "app"}):
                found[one.name] = one.specifier
    return found
