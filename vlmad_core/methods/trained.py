"""Trained parameters of a method: reading them, checking that they fit, and finding those for a run.

A set of parameters is two files of one name: ``.safetensors`` with the tensors and ``.json`` with the record of
how they were made. Training (``vlmad_core.training``) writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, with_config

from vlmad_core.backbones.info import BackboneInfo, hash_tensors
from vlmad_core.backbones.weights import check_finite, parse_safetensors, read_state
from vlmad_core.datasets.catalogue import canonical_name
from vlmad_core.errors import MethodError, StoreError
from vlmad_core.io import read_json
from vlmad_core.libraries import torch
from vlmad_core.paths import parameter_folders
from vlmad_core.reading import read_file
from vlmad_core.records import Count, Number, Whole, in_words, read_as

if TYPE_CHECKING:
    from torch import Tensor

RECORD_VERSION = 1

LARGEST_PARAMETERS = 2**29
"""Bytes of a file of parameters; APRIL-GAN's for ViT-L/14 has 13 million."""

RESTORE = "Restore it, or train again; with --resume if training was ended."
TRAIN_AGAIN = "Train again, on data without damaged images or with a smaller --lr."


@with_config(ConfigDict(extra="forbid"))
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
        sha256: Of the file with the tensors, 64 hex digits; None in records of versions that did not note it.
        version: Of this form.
    """

    method: str
    training_data: tuple[str, ...] | None
    backbone: Mapping[str, Any] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Count] = field(default_factory=dict)
    losses: tuple[Number, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    version: Whole = RECORD_VERSION

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ParametersProblem:
    """What is wrong with a file of parameters or its record.

    Attributes:
        kind: ``damaged``: it can't be used; ``unhashed``: nothing tells whether the tensors are as they were written.
        path: The file.
        message: What is wrong, and what to do.
    """

    kind: Literal["damaged", "unhashed"]
    path: Path
    message: str


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
    return _read_tensors(path.with_suffix(".safetensors"), record), record


def read_parameters(path: Path) -> tuple[dict[str, Tensor], TrainingRecord]:
    """Read a pair of files that training wrote, whatever method and backbone it is for.

    Args:
        path: The ``.safetensors`` or the ``.json``.

    Raises:
        MethodError: If one of them is damaged, the tensors are others than those the record was written for, or a
            value is not finite.
    """
    record = read_record(path.with_suffix(".json"))
    return _read_tensors(path.with_suffix(".safetensors"), record), record


def verify_parameters(folder: Path) -> tuple[ParametersProblem, ...]:
    """See whether all parameters in a folder are whole and as they were written.

    Args:
        folder: Has a folder per method (``paths.parameter_folders``); one that is not there holds nothing wrong.
    """
    problems = []
    for path in sorted(
        {file.with_suffix(".safetensors") for kind in ("safetensors", "json") for file in folder.glob(f"*/*.{kind}")}
    ):
        try:
            _, record = read_parameters(path)
        except MethodError as error:
            problems.append(ParametersProblem("damaged", path, str(error)))
        else:
            if record.sha256 is None:
                message = (
                    f"{path.with_suffix('.json')} holds no SHA-256 of {path.name}, so damage to it would not show."
                )
                problems.append(ParametersProblem("unhashed", path, f"{message} Train again to have one."))
    return tuple(problems)


def _read_tensors(path: Path, record: TrainingRecord) -> dict[str, Tensor]:
    """The tensors that belong to a record.

    Raises:
        MethodError: If they can't be read, are others than those the record was written for, or not finite.
    """
    content = read_file(path, LARGEST_PARAMETERS, MethodError, RESTORE)
    found = hashlib.sha256(content).hexdigest()
    if record.sha256 not in (None, found):
        raise MethodError(
            f"{path} is damaged or another file: its SHA-256 is {found}, that in its record {record.sha256}.", RESTORE
        )
    try:
        tensors = parse_safetensors(content)
    except ValueError as error:
        raise MethodError(f"{path} can't be read: {error}.", RESTORE) from error
    check_finite(tensors, path, MethodError, TRAIN_AGAIN)
    return tensors


def read_record(path: Path) -> TrainingRecord:
    """Read the record beside a set of parameters.

    Raises:
        MethodError: If it is missing, damaged, or of a newer version of the program.
    """
    try:
        raw = read_json(path)
        version = raw.get("version")
        if isinstance(version, int) and version > RECORD_VERSION:
            raise MethodError(f"{path} was written by a newer version of this program.", "Update the program.")
        return read_as(TrainingRecord, raw)
    except (StoreError, ValidationError) as error:
        reason = f"{path}: {in_words(error)}." if isinstance(error, ValidationError) else error.problem
        raise MethodError(
            f"This is no training record: {reason}", "Keep the json that training writes beside the safetensors."
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
    key = {"april_gan": "trainable_linearlayer", "anomaly_clip": "prompt_learner"}.get(method)
    found = state.get(key) if key else None
    if not isinstance(found, Mapping):
        raise MethodError(
            f"{path} is no checkpoint of {method!r} in its authors' form.", "Give a .safetensors written by training."
        )
    tensors = {str(name): value for name, value in found.items()}
    check_finite(tensors, path, MethodError, "Fetch it again.")
    if method == "anomaly_clip":
        return from_prompt_learner(tensors)
    # nn.ModuleList "fc" of linear layers, one per stage.
    return {name.removeprefix("module.").replace("fc.", "linear."): t.float() for name, t in tensors.items()}


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
