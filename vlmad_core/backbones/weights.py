"""Files of a backbone: weights and configuration, read within bounds; values that are not finite are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones.info import OPENAI_MEAN, OPENAI_STD
from vlmad_core.errors import BackboneError, StoreError, VlmadError
from vlmad_core.io import read_json
from vlmad_core.libraries import torch
from vlmad_core.reading import open_regular

if TYPE_CHECKING:
    from torch import Tensor

Channels = tuple[float, float, float]
CHANNELS = 3

LONGEST_HEADER = 2**24
"""Bytes of the header of a safetensors file; a model of a thousand tensors has some 100,000."""

_HEAD = 8
"""Bytes in which a safetensors file says how long its header is."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or, with ``weights_only``, from a PyTorch file.

    Raises:
        BackboneError: If it can't be read, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            check_safetensors(path)
            return dict(load_file(path))
        _check_archive(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format raises its own
        raise BackboneError(
            f"{path} can't be read as weights: {(str(error).splitlines() or [type(error).__name__])[0]}",
            "Fetch the file again, or convert it to safetensors (OpenAI's own archives can't be read: "
            "use the transformers form, e.g. openai/clip-vit-large-patch14-336).",
        ) from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise BackboneError(f"{path} holds no tensors by name.", "Give a file that holds a model's weights.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration that comes with weights.

    Raises:
        BackboneError: If it can't be read, or is no json object.
    """
    try:
        return read_json(path, "Fetch the file again.")
    except StoreError as error:
        raise BackboneError(error.problem, error.fix) from error


def normalisation(config: object, mean: str, std: str, origin: Path) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel that images are normalised with; OpenAI's where none are named.

    Args:
        config: What names them.
        mean: Under which name.
        std: Under which name.
        origin: Where it was read, for error messages.

    Raises:
        BackboneError: If they are not three numbers each, or a deviation is not above 0.
    """
    named = config if isinstance(config, dict) else {}
    values = [named.get(mean, OPENAI_MEAN), named.get(std, OPENAI_STD)]
    plain = all(isinstance(one, list | tuple) and len(one) == CHANNELS for one in values)
    if not plain or not all(isinstance(v, int | float) for one in values for v in one) or min(values[1]) <= 0:
        raise BackboneError(
            f"{origin} can't be used: {mean} and {std} are not three numbers each, the second above 0.",
            "Fetch the file again.",
        )
    return tuple(map(float, values[0])), tuple(map(float, values[1]))  # type: ignore[return-value]


def parse_safetensors(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: If it is none, or holds values of a kind that nothing here computes with.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check_length(content[:_HEAD], len(content))
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, KeyError, RuntimeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return tensors


def check_finite(tensors: Mapping[str, Any], place: object, error: type[VlmadError], fix: str) -> None:
    """See that all values are numbers to compute with.

    Args:
        tensors: By name.
        place: The file they come from, for the message.
        error: What to raise.
        fix: What to do about it.

    Raises:
        VlmadError: Of the kind ``error``, naming the first that is no tensor of finite real numbers.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.is_complex() or tensor.is_sparse or tensor.is_quantized:
            raise error(f"{place} holds {name!r}, which is no plain tensor of real numbers.", fix)
        if tensor.is_floating_point() and not torch.isfinite(tensor if tensor.itemsize > 1 else tensor.float()).all():
            raise error(f"{place} holds a tensor {name!r} with values that are not finite.", fix)


def check_safetensors(path: Path) -> None:
    """See that a file is a regular one whose header can be read.

    Raises:
        OSError: If it can't be opened, or is no regular file.
        ValueError: If the header would be longer than the file, or than any model's.
    """
    with open_regular(path) as file:
        _check_length(file.read(_HEAD), path.stat().st_size)


def _check_length(head: bytes, size: int) -> None:
    length = int.from_bytes(head, "little")
    if len(head) < _HEAD or length > size - _HEAD:
        raise ValueError("it is cut off, or no safetensors file")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than the {LONGEST_HEADER:,} allowed")


def _check_archive(path: Path) -> None:
    """See that a PyTorch file unpacks to no more than it has: its parts are stored as they are."""
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than it has, which PyTorch's own files do not")
