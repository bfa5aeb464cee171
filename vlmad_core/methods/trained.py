"""Trained parameters of a method: reading them, checking that they fit, and finding those for a run.

A set of parameters is two files of one name: ``.safetensors`` with the tensors and ``.json`` with the record of
how they were made. Training (``vlmad_core.training``) writes them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from vlmad_core.backbones.info import BackboneInfo, hash_tensors
from vlmad_core.backbones.open_clip import read_state
from vlmad_core.datasets.catalogue import canonical_name
from vlmad_core.errors import MethodError
from vlmad_core.libraries import torch
from vlmad_core.paths import parameter_folders

if TYPE_CHECKING:
    from torch import Tensor

RECORD_VERSION = 1


@dataclass(frozen=True)
class TrainingRecord:
    """How parameters were made: what a reader needs to judge a number that rests on them.

    Attributes:
        method: The method they are for.
        training_data: Data sets (by canonical name) whose test splits they were trained on, so that contamination
            can be computed; None if unknown (an authors' checkpoint).
        backbone: The backbone's ``BackboneInfo`` as json; None if unknown.
        settings: Settings of the method that shape the parameters, e.g. its stages.
        hyperparameters: Optimiser, epochs, batch size, seed, augmentation.
        images: Number of training images by data set and category.
        losses: Mean loss of each epoch.
        version: Of this form.
    """

    method: str
    training_data: tuple[str, ...] | None
    backbone: Mapping[str, Any] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    version: int = RECORD_VERSION

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingRecord:
        """Read what ``to_json`` wrote."""
        known = dict(value)
        if known.get("training_data") is not None:
            known["training_data"] = tuple(known["training_data"])
        known["losses"] = tuple(known.get("losses", ()))
        return cls(**known)


def load_parameters(path: Path, method: str, backbone: BackboneInfo) -> tuple[dict[str, Tensor], TrainingRecord]:
    """Read trained parameters and check that they are for this method and this backbone.

    Args:
        path: The ``.safetensors`` or the ``.json`` of a pair; or an authors' checkpoint (``.pth``, ``.pt``),
            which says neither what it was trained on nor with which backbone.
        method: Name of the method.
        backbone: The backbone they are to be used with.

    Returns:
        The tensors, and how they were made.

    Raises:
        MethodError: If they can't be read, or are for another method, backbone or activation.
    """
    if path.suffix in (".pth", ".pt"):
        return read_authors_checkpoint(path, method), TrainingRecord(method, None, None)
    record = read_record(path.with_suffix(".json"))
    if record.method != method:
        raise MethodError(f"{path} holds parameters of {record.method!r}, not of {method!r}.", "Choose another file.")
    known = record.backbone or {}
    for key, what in (("weights_hash", "the backbone"), ("activation", "the activation")):
        if known.get(key) != getattr(backbone, key):
            raise MethodError(
                f"{path} was trained on {known.get('title', 'an unknown backbone')} ({what} {known.get(key)}), "
                f"not on {backbone.title} ({getattr(backbone, key)}).",
                f"Train on this one: python -m vlmad_core train {method} --data NAME --backbone {backbone.id}",
            )
    try:
        from safetensors.torch import load_file

        return load_file(path.with_suffix(".safetensors")), record
    except (OSError, SafetensorError) as error:
        raise MethodError(f"{path.with_suffix('.safetensors')} can't be read: {error}.", "Train again.") from error


def read_record(path: Path) -> TrainingRecord:
    """Read the record beside a set of parameters.

    Raises:
        MethodError: If it is missing, damaged, or of a newer version of the program.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["version"] > RECORD_VERSION:
            raise MethodError(f"{path} was written by a newer version of this program.", "Update the program.")
        return TrainingRecord.from_json(raw)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MethodError(
            f"{path} can't be read as a training record: {type(error).__name__} {error}.",
            "Keep the json that training writes beside the safetensors.",
        ) from error


def find_parameters(
    method: str, backbone: BackboneInfo, dataset: str | None, folders: Iterable[Path] | None = None
) -> Path | None:
    """The parameters a run uses when none are named.

    The first folder that has any for this method, backbone and activation that were not trained on the data set to
    be judged; in it the ones trained on the most data sets, then first by name. So ``bundled_b`` is judged with what
    was trained on ``bundled_a``, the other way round, and any other data set with what was trained on both.

    Args:
        method: Name of the method.
        backbone: The backbone of the run.
        dataset: Name of the data set to be judged (``Dataset.official``, else its name); None if it is none (an
            uploaded image).
        folders: Folders with a folder per method, first to last; ``paths.parameter_folders()`` if None.

    Returns:
        Path of a ``.safetensors`` file, or None if there is none that fits.
    """
    judged = None if dataset is None else canonical_name(dataset)
    for folder in parameter_folders() if folders is None else folders:
        fitting = _fitting(folder, method, backbone.weights_hash, backbone.activation)
        found = [(path, data) for path, data in fitting if judged not in data]
        if found:
            return max(found, key=lambda one: len(one[1]))[0]
    return None


def find_parameters_trained_on(
    data: Collection[str],
    method: str,
    weights_hash: str,
    activation: str | None = None,
    folders: Iterable[Path] | None = None,
) -> Path | None:
    """The parameters trained on exactly these data sets: contaminated if judged on them, and of use to show just that.

    Args:
        data: Names of the data sets (``Dataset.official``, else the name).
        method: Name of the method.
        weights_hash: Hash of the backbone's weights.
        activation: Of the backbone; any if None.
        folders: As for ``find_parameters``.
    """
    wanted = {canonical_name(name) for name in data}
    for folder in parameter_folders() if folders is None else folders:
        for path, own in _fitting(folder, method, weights_hash, activation):
            if set(own) == wanted:
                return path
    return None


def find_parameters_hashed(
    digest: str, method: str, backbone: BackboneInfo, folders: Iterable[Path] | None = None
) -> dict[str, Tensor] | None:
    """The parameters a protocol names by their hash (``hash_tensors``); None if they are in none of the folders.

    Args:
        digest: The hash.
        method: Name of the method.
        backbone: The backbone they are used with.
        folders: As for ``find_parameters``.
    """
    for folder in parameter_folders() if folders is None else folders:
        for path, _ in _fitting(folder, method, backbone.weights_hash, backbone.activation):
            try:
                tensors, _ = load_parameters(path, method, backbone)
            except MethodError:
                continue  # as in _fitting
            if hash_tensors(tensors) == digest:
                return tensors
    return None


def _fitting(
    folder: Path, method: str, weights_hash: str, activation: str | None
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Parameters in a folder that fit and whose training data is recorded, with that data; by name."""
    for path in sorted((folder / method).glob("*.safetensors")):
        try:
            record = read_record(path.with_suffix(".json"))
        except MethodError:
            continue  # a damaged or half-copied file of the user's must not hide the others
        known, data = record.backbone or {}, record.training_data
        fits = known.get("weights_hash") == weights_hash and activation in (None, known.get("activation"))
        if fits and data is not None and record.method == method:
            yield path, tuple(data)


def read_authors_checkpoint(path: Path, method: str) -> dict[str, Tensor]:
    """Read a checkpoint of the authors' public code (APRIL-GAN's linear layers, AnomalyCLIP's prompts).

    Raises:
        MethodError: If it holds neither, or the method has no such checkpoint.
    """
    state: dict[str, Any] = read_state(path)
    if method == "april_gan" and "trainable_linearlayer" in state:
        # nn.ModuleList "fc" of linear layers, one per stage.
        layers = state["trainable_linearlayer"]
        return {name.removeprefix("module.").replace("fc.", "linear."): t.float() for name, t in layers.items()}
    if method == "anomaly_clip" and "prompt_learner" in state:
        return from_prompt_learner(state["prompt_learner"])
    raise MethodError(
        f"{path} is no checkpoint of {method!r} in its authors' form.", "Give a .safetensors written by training."
    )


def from_prompt_learner(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AnomalyCLIP's prompt learner, as its authors name the tensors, in the form this program uses.

    The unused ``compound_prompt_projections`` and the token buffers are left out.

    Args:
        state: ``ctx_pos`` (normal) and ``ctx_neg`` (abnormal) [1, 1, m, t], ``compound_prompts_text.i`` [p, t].

    Returns:
        ``context`` [2, m, t], normal first, and ``deep.i`` [p, t].

    Raises:
        MethodError: If the contexts are missing.
    """
    if "ctx_pos" not in state or "ctx_neg" not in state:
        raise MethodError("The checkpoint holds no ctx_pos and ctx_neg.", "Give AnomalyCLIP's prompt learner.")
    context = [state[name].float().reshape(-1, state[name].shape[-1]) for name in ("ctx_pos", "ctx_neg")]
    prefix = "compound_prompts_text."
    deep = {f"deep.{name.removeprefix(prefix)}": t.float() for name, t in state.items() if name.startswith(prefix)}
    return {"context": torch.stack(context), **deep}
