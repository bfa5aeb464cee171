"""The training loop over frozen features, and its files: trained parameters, the state to resume from.

Both are safetensors and json only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vlmad_core.backbones.info import hash_tensors
from vlmad_core.backbones.weights import check_finite, check_safetensors
from vlmad_core.errors import MethodError
from vlmad_core.io import write_atomically
from vlmad_core.methods.trained import TRAIN_AGAIN, TrainingRecord
from vlmad_core.store.schema import short_hash

StepDone = Callable[[float], None]
"""Called after each step with its loss."""
_PARAMETERS, _OPTIMISER = "parameters/", "optimiser/"


BOUNDS = {"epochs": (1, 100_000), "batch_size": (1, 100_000), "learning_rate": (1e-12, 1e6), "seed": (0, 2**63 - 1)}
"""What an optimisation may be given, least and most."""


@dataclass(frozen=True)
class Optimisation:
    """How parameters are fitted; the defaults are those of the authors of both methods.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Adam's; constant.
        betas: Adam's.
        seed: Of the initial values, the order of images and the augmentation.
    """

    epochs: int = 15
    batch_size: int = 8
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    seed: int = 111

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:  # nor is nan
                raise MethodError(f"Training was given {name} {value}.", f"Give a number from {least} to {most}.")

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return {"optimiser": "Adam, constant learning rate, no weight decay", **asdict(self)}


@dataclass
class Progress:
    """Where a training stands; what is saved after each epoch and resumed from.

    Attributes:
        parameters: What is trained, by name.
        optimiser: Adam's state, by ``<parameter>.<its name>``.
        losses: Mean loss of each finished epoch.
    """

    parameters: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    losses: list[float]


class Objective(Protocol):
    """What is minimised, over the images of a training set."""

    def __len__(self) -> int:
        """Number of training images."""

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Values to start from."""

    def loss(self, parameters: Mapping[str, Tensor], images: Tensor, random: np.random.Generator) -> Tensor:
        """Loss of a batch.

        Args:
            parameters: What is trained; gradients flow to it.
            images: Indices of the batch's images.
            random: For augmentation.
        """


def start(objective: Objective, plan: Optimisation) -> Progress:
    """The state before the first epoch."""
    return Progress(objective.initial(torch.Generator().manual_seed(plan.seed)), {}, [])


def fit(
    objective: Objective,
    plan: Optimisation,
    progress: Progress,
    epoch_done: Callable[[Progress], None] = lambda progress: None,
    step_done: StepDone = lambda loss: None,
) -> Progress:
    """Train from where ``progress`` stands to the last epoch.

    Each epoch draws its order and augmentation from (seed, epoch) alone, so that a resumed training ends with
    the same values bit for bit.

    Args:
        objective: What is minimised.
        plan: How.
        progress: A start, or what was saved after an epoch.
        epoch_done: Given the state after each epoch.
        step_done: Given the loss of each step.

    Returns:
        The state after the last epoch.

    Raises:
        MethodError: If a loss is not finite.
    """
    parameters = {name: tensor.clone().requires_grad_(True) for name, tensor in progress.parameters.items()}
    adam = torch.optim.Adam(parameters.values(), lr=plan.learning_rate, betas=plan.betas)
    _restore(adam, parameters, progress.optimiser)
    losses = list(progress.losses)
    for epoch in range(len(losses), plan.epochs):
        random = np.random.default_rng([plan.seed, epoch])
        order = torch.from_numpy(random.permutation(len(objective)))
        total = 0.0
        for batch in order.split(plan.batch_size):
            loss = objective.loss(parameters, batch, random)
            value = float(loss.detach())
            if not np.isfinite(value):
                raise MethodError(f"The loss became {value} in epoch {epoch + 1}.", "Choose a smaller --lr.")
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += value * len(batch)
            step_done(value)
        losses.append(total / len(objective))
        progress = Progress({k: v.detach().clone() for k, v in parameters.items()}, _state(adam, parameters), [*losses])
        epoch_done(progress)
    return progress


def _state(adam: torch.optim.Adam, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.detach().clone()
        for name, parameter in parameters.items()
        for key, value in adam.state[parameter].items()
    }


def _restore(adam: torch.optim.Adam, parameters: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        for full, value in saved.items():
            stem, _, key = full.rpartition(".")
            if stem == name:
                adam.state[parameter][key] = value.clone()


def save_parameters(path: Path, parameters: Mapping[str, Tensor], record: TrainingRecord) -> None:
    """Write parameters and, beside them, their record with the file's hash; an earlier pair of that name is replaced.

    Raises:
        MethodError: If a value is not finite.
    """
    check_finite(parameters, path, MethodError, TRAIN_AGAIN)
    content = save({name: tensor.contiguous() for name, tensor in parameters.items()})
    write_atomically(path, content)
    known = replace(record, sha256=hashlib.sha256(content).hexdigest())
    text = json.dumps(known.to_json(), indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())


def resume_path(path: Path) -> Path:
    """Where the state of an unfinished training lies, beside the parameters it will become."""
    return path.with_suffix(".unfinished")


def fingerprint(record: TrainingRecord) -> str:
    """What a resumed training must agree in: everything but the number of epochs and the losses."""
    content = record.to_json()
    del content["sha256"]
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
    metadata = {"plan": plan, "losses": json.dumps(progress.losses), "check": _check(tensors, progress.losses)}
    write_atomically(path, save(tensors, metadata=metadata))


def _check(tensors: Mapping[str, Tensor], losses: list[float]) -> str:
    """What tells whether a state is as it was written."""
    return short_hash({"tensors": hash_tensors(tensors), "losses": losses})


def load_progress(path: Path, plan: str) -> Progress | None:
    """Read the state of an unfinished training; None if there is none.

    Raises:
        MethodError: If it can't be read, or belongs to a training with other data, backbone or settings.
    """
    if not path.is_file():
        return None
    try:
        check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        losses = [float(loss) for loss in json.loads(metadata["losses"])]
        if metadata["check"] != _check(tensors, losses):
            raise ValueError("its values are not those that were written")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
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
