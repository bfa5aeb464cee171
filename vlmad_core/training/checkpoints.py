"""Writing trained parameters and their record, and the state a training resumes from; safetensors and json only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vlmad_core.errors import MethodError
from vlmad_core.io import write_atomically
from vlmad_core.methods.trained import TrainingRecord
from vlmad_core.training.loop import Progress

_PARAMETERS, _OPTIMISER = "parameters/", "optimiser/"


def save_parameters(path: Path, parameters: Mapping[str, Tensor], record: TrainingRecord) -> None:
    """Write parameters and, beside them, their record; an earlier pair of that name is replaced."""
    write_atomically(path, save({name: tensor.contiguous() for name, tensor in parameters.items()}))
    text = json.dumps(record.to_json(), indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())


def resume_path(path: Path) -> Path:
    """Where the state of an unfinished training lies, beside the parameters it will become."""
    return path.with_suffix(".unfinished")


def fingerprint(record: TrainingRecord) -> str:
    """What a resumed training must agree in: everything but the number of epochs and the losses."""
    content = record.to_json()
    content["losses"] = []
    content["hyperparameters"] = {k: v for k, v in record.hyperparameters.items() if k != "epochs"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def save_progress(path: Path, progress: Progress, plan: str) -> None:
    """Write the state after an epoch.

    Args:
        path: See ``resume_path``.
        progress: The state.
        plan: See ``fingerprint``.
    """
    tensors = {_PARAMETERS + name: tensor.contiguous() for name, tensor in progress.parameters.items()}
    tensors |= {_OPTIMISER + name: tensor.contiguous() for name, tensor in progress.optimiser.items()}
    write_atomically(path, save(tensors, metadata={"plan": plan, "losses": json.dumps(progress.losses)}))


def load_progress(path: Path, plan: str) -> Progress | None:
    """Read the state of an unfinished training; None if there is none.

    Raises:
        MethodError: If it can't be read, or belongs to a training with other data, backbone or settings.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        losses = [float(loss) for loss in json.loads(metadata["losses"])]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise MethodError(f"{path} can't be resumed from: {error}.", "Train without --resume.") from error
    if metadata.get("plan") != plan:
        raise MethodError(
            f"{path} belongs to a training with other data, backbone or settings.",
            "Repeat the command it was started with, or train without --resume.",
        )
    parts = [
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in (_PARAMETERS, _OPTIMISER)
    ]
    return Progress(parts[0], parts[1], losses)
