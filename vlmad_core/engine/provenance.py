"""Where a run comes from: code, packages, hardware."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from vlmad_core.libraries import torch
from vlmad_core.paths import checkout
from vlmad_core.store.schema import short_hash

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "pillow",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "safetensors",
)
"""Packages whose versions are recorded."""

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@cache
def code_version() -> str:
    """Version of this program, with the git commit where it runs from a checkout."""
    root = checkout()
    version = _package_version(root)
    if root is None or not (root / ".git").exists():
        return version
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "vlmad_core")
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{commit}" + (".changed" if changed else "")


@cache
def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def hardware(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores and memory; ``id`` is the same for machines of the same kind.

    Args:
        device: Where the vision tower computes; a graphics card is named as ``accelerator``.
    """
    cpu = _cpu_info()
    facts: dict[str, Any] = {
        "processor": cpu["model"],
        "features": cpu["features"],
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    if device != "cpu":
        facts["accelerator"] = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {**facts, "id": short_hash(facts)}


def _package_version(root: Path | None) -> str:
    if root is not None:
        with contextlib.suppress(OSError, KeyError, tomllib.TOMLDecodeError):
            project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            return str(project["version"])
    try:
        return metadata.version("vlm-ad")
    except metadata.PackageNotFoundError:
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _cpu_info() -> dict[str, Any]:
    model, flags = platform.processor() or platform.machine(), set()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        pass
    return {"model": model, "features": [name for name in CPU_FEATURES if name in flags]}
