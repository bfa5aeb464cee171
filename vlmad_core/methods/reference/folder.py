"""Reading a reference folder: a small OpenCLIP model, inputs, expected outputs and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlmad_core.backbones.info import PositionRule
from vlmad_core.backbones.text import Tokenizer
from vlmad_core.backbones.weights import check_safetensors
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.io import read_json


class ReferenceFolderError(VlmadError):
    """A reference folder can't be read, or lacks something."""


@dataclass(frozen=True)
class ReferenceFolder:
    """A reference folder as read.

    Attributes:
        path: Where it lies.
        method: The method whose ``<method>.json`` it holds.
        settings: That json.
        tensors: Inputs and expected outputs, float32.
        prompts: Prompts by class (``normal``, ``abnormal``), empty where the method learns them.
    """

    path: Path
    method: str
    settings: dict[str, Any]
    tensors: dict[str, Tensor]
    prompts: dict[str, tuple[str, ...]]

    def tensor(self, name: str) -> Tensor:
        """A tensor that must be there.

        Raises:
            ReferenceFolderError: If it is not.
        """
        if name not in self.tensors:
            raise ReferenceFolderError(
                f"{self.path / self.method}.safetensors lacks the tensor {name!r}.",
                "Make the reference again.",
            )
        return self.tensors[name]

    def references(self, shots: int) -> Tensor:
        """The first ``shots`` reference images, preprocessed.

        Raises:
            ReferenceFolderError: If there are fewer.
        """
        found = self.tensor("reference_pixel_values")
        if len(found) < shots:
            raise ReferenceFolderError(
                f"{self.path / self.method}.safetensors holds {shots}-shot outputs, but {len(found)} references.",
                "Make the reference again with enough images in reference_pixel_values.",
            )
        return found[:shots]

    def prompts_of(self, side: str) -> tuple[str, ...]:
        """The prompts of a class, ``normal`` or ``abnormal``.

        Raises:
            ReferenceFolderError: If there are none.
        """
        if not self.prompts.get(side):
            raise ReferenceFolderError(
                f"{self.path / 'prompts.json'} lacks the {side} prompts.",
                "It needs two lists, 'normal' and 'abnormal', whose tokens are stored as prompt_tokens.*.",
            )
        return self.prompts[side]

    def input_size(self) -> int:
        """Side of the input images in pixels.

        Raises:
            ReferenceFolderError: If they are not square RGB images.
        """
        shape = tuple(self.tensor("pixel_values").shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise ReferenceFolderError(
                f"pixel_values of {self.path} have the shape {shape}.", "Store square images as [N, 3, S, S]."
            )
        return shape[2]

    def position_rule(self, usual: PositionRule) -> PositionRule:
        """How the position table is resampled: as the json says, or as the method's authors do.

        Args:
            usual: The authors' rule, where ``position_embedding_resize`` is absent.

        Raises:
            ReferenceFolderError: If the json names a rule that is none of ours.
        """
        text = str(self.settings.get("position_embedding_resize") or "").lower().replace(" ", "")
        if not text:
            return usual
        if "align_corners=true" not in text:
            if "bicubic" in text:
                return "bicubic" if "antialias=false" in text else "bicubic_antialias"
            if "bilinear" in text and "antialias=true" not in text:
                return "bilinear"
        raise ReferenceFolderError(
            f"{self.path / self.method}.json has position_embedding_resize {text!r}.",
            "Known are bicubic with or without antialias and bilinear without, none with aligned corners.",
        )

    def setting(self, name: str) -> Any:
        """A setting that must be there.

        Raises:
            ReferenceFolderError: If it is not.
        """
        if name not in self.settings:
            raise ReferenceFolderError(
                f"{self.path / self.method}.json lacks the setting {name!r}.", "Make the reference again."
            )
        return self.settings[name]

    def tokenizer(self) -> Tokenizer:
        """A tokenizer that knows exactly the stored prompts, so that no vocabulary is needed.

        Raises:
            ReferenceFolderError: From the tokenizer, for any other prompt.
        """
        table: dict[str, list[int]] = {}
        for side, prompts in self.prompts.items():
            ids = self.tensor(f"prompt_tokens.{side}")
            if len(ids) != len(prompts):
                raise ReferenceFolderError(
                    f"{self.path} holds {len(prompts)} {side} prompts, but tokens of {len(ids)}.",
                    "Make the reference again.",
                )
            for prompt, row in zip(prompts, ids.tolist(), strict=True):
                # The end token has the greatest id; what follows is padding.
                table[prompt] = row[: row.index(max(row)) + 1]

        def tokenize(prompts: Sequence[str]) -> list[list[int]]:
            unknown = [prompt for prompt in prompts if prompt not in table]
            if unknown:
                raise ReferenceFolderError(
                    f"The reference {self.path} has no tokens for the prompt {unknown[0]!r}.",
                    "Use the prompts stored in it.",
                )
            return [table[prompt] for prompt in prompts]

        return tokenize

    def shots(self) -> tuple[int, ...]:
        """Numbers of references for which few-shot outputs are stored, from the tensors' names."""
        found = {name.split("_shot.")[0] for name in self.tensors if "_shot." in name}
        return tuple(sorted(int(shots) for shots in found if shots.isdigit()))


def read_reference(path: Path, methods: Sequence[str]) -> ReferenceFolder:
    """Read a reference folder.

    Args:
        path: The folder.
        methods: Methods that can be checked.

    Raises:
        ReferenceFolderError: If it is no folder, holds none of the methods, or a file is missing or damaged.
    """
    if not path.is_dir():
        raise ReferenceFolderError(f"There is no folder {path}.", "Give the folder of one method's reference outputs.")
    method = next((name for name in methods if (path / f"{name}.json").is_file()), None)
    if method is None:
        raise ReferenceFolderError(
            f"{path} holds no reference outputs.",
            f"It needs one of: {', '.join(f'{name}.json' for name in methods)}.",
        )
    try:
        settings = read_json(path / f"{method}.json")
        check_safetensors(path / f"{method}.safetensors")
        tensors = load_file(path / f"{method}.safetensors")
        raw = path / "prompts.json"
        prompts = read_json(raw) if raw.is_file() else {}
        sides = [one for side in ("normal", "abnormal") if (one := prompts.get(side)) is not None]
        if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in sides):
            raise ValueError(f"{raw} holds no lists of prompts")
    except StoreError as error:
        raise ReferenceFolderError(error.problem, "Fetch the reference again.") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ReferenceFolderError(f"{path} can't be read: {error}.", "Fetch the reference again.") from error
    return ReferenceFolder(
        path,
        method,
        settings,
        # Files of half precision are allowed; all arithmetic is done in float32.
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
        {side: tuple(prompts[side]) for side in ("normal", "abnormal") if prompts.get(side) is not None},
    )
