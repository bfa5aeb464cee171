"""Finding and loading a backbone: bundled, a Hugging Face hub id, a local folder, or an OpenCLIP checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.devices import resolve_device
from vlmad_core.backbones.info import (
    OPENAI_MEAN,
    OPENAI_STD,
    PRECISIONS,
    AskedPrecision,
    BackboneInfo,
    PositionRule,
    Preprocessing,
    hash_tensors,
    precisions_on,
)
from vlmad_core.backbones.open_clip import CONFIG_NAME, load_open_clip
from vlmad_core.backbones.teacher import load_vision_only
from vlmad_core.backbones.text import DEFAULT_TOKENIZER, TOKENIZER_FILES, Tokenizer, read_tokenizer
from vlmad_core.backbones.tower import Backbone
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET, set_image_size
from vlmad_core.backbones.weights import check_finite, read_state
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from vlmad_core.backbones.model import ClipModel

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
VISION_ONLY_NAMES = ("teacher", "efficientnet_lite0")
"""Names of the ImageNet teacher (``teacher.py``), the one backbone that is no CLIP model."""


def load_backbone(
    name: str = "bundled",
    *,
    image_size: int | None = None,
    position_rule: PositionRule = "bicubic_antialias",
    activation: Literal["gelu", "quick_gelu"] | None = None,
    precision: AskedPrecision = "float32",
    tokenizer: str | Tokenizer = DEFAULT_TOKENIZER,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    device: str = "cpu",
) -> ClipBackbone:
    """Load a CLIP model by name; the same code whatever its origin.

    Args:
        name: ``bundled``, a local folder (transformers or OpenCLIP form), or a hub id.
        image_size: Side of the square input in pixels; the model's own if None.
        position_rule: How the position table is resampled if the size is not the model's own.
        activation: Overrides the activation of the checkpoint's configuration (see the method presets).
        precision: Arithmetic of the towers; ``auto`` must have been settled before (``settling.settle``).
        tokenizer: Hub id or folder of a tokenizer, used only where the checkpoint brings none; or a function.
        token_budget: Bound on memory: most window tokens at once.
        device: Where the towers stand and methods score; see ``resolve_device``.

    Raises:
        BackboneError: If it can't be found, fetched or read, or doesn't fit what is asked.
    """
    from vlmad_core.backbones.model import known_activation

    if precision == "auto":
        raise BackboneError(f"The precision of {name} is not settled yet.", "Settle it, or name one.")
    if precision not in PRECISIONS:
        raise BackboneError(f"There is no precision {precision!r}.", f"Known are: {', '.join(PRECISIONS)}.")
    place = resolve_device(device)
    if precision not in precisions_on(place.type):
        raise BackboneError(
            f"{precision} is computed on graphics cards only, and the device is {place}.",
            "Use float32 or bfloat16 here, or name a card, e.g. 'cuda'.",
        )
    folder, source = _locate(name)
    if (folder / CONFIG_NAME).is_file():
        model, mean, std = load_open_clip(folder)
        source = "open_clip"
    else:
        model = _load_transformers(folder)
        mean, std = _read_normalisation(folder)
    model.eval().requires_grad_(False)
    check_finite(model.state_dict(), folder, BackboneError, "Fetch the model again.")
    weights_hash = hash_tensors(model.state_dict())
    native = model.config.vision_config.image_size
    if activation is not None:
        model.set_activation(activation)
    if image_size is not None and image_size != native:
        set_image_size(model, image_size, position_rule)
    if precision != "float32":
        model.vision_model.encoder.to(getattr(torch, precision))
        model.text_model.encoder.to(getattr(torch, precision))
    model.to(place)
    training = _read_training_record(folder)
    vision, text = model.config.vision_config, model.config.text_config
    info = BackboneInfo(
        id=name if source in ("bundled", "hub") else folder.name,
        title="Bundled demonstration CLIP" if source == "bundled" else (name if source == "hub" else folder.name),
        source=source,
        weights_hash=weights_hash,
        activation=known_activation(vision.hidden_act),
        image_size=vision.image_size,
        native_image_size=native,
        patch_size=vision.patch_size,
        position_rule="native" if vision.image_size == native else position_rule,
        precision=precision,
        depth=vision.num_hidden_layers,
        text_depth=text.num_hidden_layers,
        width=vision.hidden_size,
        embed_dim=model.config.projection_dim,
        context_length=text.max_position_embeddings,
        parameters=sum(p.numel() for p in model.parameters()),
        image_mean=mean,
        image_std=std,
        training_data=tuple(training["training_data"]) if "training_data" in training else None,
        demonstration=source == "bundled",
    )
    return ClipBackbone(
        model=model,
        info=info,
        preprocess=Preprocessing(vision.image_size, mean, std, vision.patch_size),
        tokenize=tokenizer if callable(tokenizer) else _lazy_tokenizer(folder, tokenizer),
        token_budget=token_budget,
    )


@dataclass(frozen=True)
class BackboneSpec:
    """How a backbone is to be loaded.

    Attributes:
        name: ``bundled``, a folder, or a hub id.
        image_size: Side of the input; None for its own.
        activation: Overrides the checkpoint's; None to keep it.
        position_rule: How the position table is resampled; None for the default.
        precision: Arithmetic of the towers; ``auto`` for ``settling.settle``.
        tokenizer: For checkpoints that bring none; None for the default.
        device: Where it stands; ``auto`` for the accelerator torch finds, or the CPU.
    """

    name: str
    image_size: int | None = None
    activation: Literal["gelu", "quick_gelu"] | None = None
    position_rule: PositionRule | None = None
    precision: AskedPrecision = "float32"
    tokenizer: str | None = None
    device: str = "cpu"

    def load(self) -> Backbone:
        """Load it.

        Raises:
            BackboneError: If it can't be found, fetched or read.
        """
        if self.name in VISION_ONLY_NAMES:
            return load_vision_only(self.image_size, self.device)
        more: dict[str, Any] = {}
        if self.position_rule is not None and self.position_rule != "native":
            more["position_rule"] = self.position_rule
        if self.tokenizer is not None:
            more["tokenizer"] = self.tokenizer
        return load_backbone(
            self.name,
            image_size=self.image_size,
            activation=self.activation,
            precision=self.precision,
            device=self.device,
            **more,
        )


Loader = Callable[[BackboneSpec], Backbone]


def _locate(name: str) -> tuple[Path, Literal["bundled", "hub", "folder", "open_clip"]]:
    if name == "bundled":
        return BUNDLED_FOLDER, "bundled"
    if name in VISION_ONLY_NAMES:
        raise BackboneError(
            f"The backbone {name!r} knows images only.",
            "Use a CLIP model here; precompute runs the method teacher_memory on it.",
        )
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve(), "folder"
    if path.is_file():
        return path.resolve().parent, "folder"
    if path.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") != 1:
        raise BackboneError(
            f"There is no backbone folder {name!r}.",
            "Give 'bundled', a folder with a CLIP model, or a hub id such as openai/clip-vit-base-patch16.",
        )
    from vlmad_core.backbones.hub import fetch_model

    return fetch_model(name), "hub"


def _load_transformers(folder: Path) -> ClipModel:
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"{folder} holds neither config.json (transformers) nor {CONFIG_NAME} (OpenCLIP).",
            "Point to the folder that holds the model's configuration and weights.",
        )
    from vlmad_core.backbones.model import ClipConfig, model_of

    try:
        config = ClipConfig.from_json(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        state = {name: tensor for file in _weight_files(folder) for name, tensor in read_state(file).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"{folder} can't be loaded as a CLIP model: {error}",
            "Check that it holds a CLIP model in transformers form with all its files.",
        ) from error
    # Copies: what was mapped from a file would change, and be read, with it.
    state = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    return model_of(config, state, folder, spare=True)


def _weight_files(folder: Path) -> list[Path]:
    """The files with a model's weights; large models have several, and an index that names them."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            parts: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [folder / part for part in sorted(set(parts.values()))]
    raise FileNotFoundError("it has neither model.safetensors nor pytorch_model.bin")


def _read_normalisation(folder: Path) -> tuple[Any, Any]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return OPENAI_MEAN, OPENAI_STD
    raw = json.loads(path.read_text(encoding="utf-8"))
    return tuple(raw.get("image_mean", OPENAI_MEAN)), tuple(raw.get("image_std", OPENAI_STD))


def _read_training_record(folder: Path) -> dict[str, Any]:
    path = folder / "training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _lazy_tokenizer(folder: Path, fallback: str) -> Tokenizer:
    """A tokenizer that is read when first used: a model without one still serves methods without text."""
    loaded: list[Tokenizer] = []

    def tokenize(prompts: Sequence[str]) -> list[list[int]]:
        if not loaded:
            if any((folder / name).is_file() for name in TOKENIZER_FILES):
                loaded.append(read_tokenizer(folder))
            else:
                from vlmad_core.backbones.hub import fetch_tokenizer

                loaded.append(fetch_tokenizer(fallback))
        return loaded[0](prompts)

    return tokenize
