"""Finding and loading a backbone: bundled, a Hugging Face hub id, a local folder, or an OpenCLIP checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core import paths
from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.devices import resolve_device
from vlmad_core.backbones.info import (
    HASH_DIGITS,
    PRECISIONS,
    AskedPrecision,
    BackboneInfo,
    PositionRule,
    Preprocessing,
    precisions_on,
    tensors_sha256,
)
from vlmad_core.backbones.open_clip import CONFIG_NAME, load_open_clip, open_clip_weights
from vlmad_core.backbones.teacher import load_vision_only
from vlmad_core.backbones.text import DEFAULT_TOKENIZER, TOKENIZER_FILES, Tokenizer, read_tokenizer
from vlmad_core.backbones.tower import Backbone
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET, set_image_size
from vlmad_core.backbones.weights import Channels, check_finite, normalisation, read_config, read_state
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from vlmad_core.backbones.model import ClipModel

FETCH_AGAIN = "Fetch the model again."

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
    folder, origin = _locate(name)
    source = "open_clip" if (folder / CONFIG_NAME).is_file() else origin
    if source == "open_clip":
        model, mean, std = load_open_clip(folder)
    else:
        model = _load_transformers(folder)
        mean, std = _read_normalisation(folder)
    model.eval().requires_grad_(False)
    sha256 = tensors_sha256(model.state_dict())
    if origin == "hub":
        from vlmad_core.backbones.holding import hold_weights

        hold_weights(name, sha256, [open_clip_weights(folder)] if source == "open_clip" else _weight_files(folder))
    native = model.config.vision_config.image_size
    if activation is not None:
        model.set_activation(activation)
    if image_size is not None and image_size != native:
        set_image_size(model, image_size, position_rule)
    if precision != "float32":
        model.vision_model.encoder.to(getattr(torch, precision))
        model.text_model.encoder.to(getattr(torch, precision))
    model.to(place)
    vision, text = model.config.vision_config, model.config.text_config
    info = BackboneInfo(
        id=name if source in ("bundled", "hub") else folder.name,
        title="Bundled demonstration CLIP" if source == "bundled" else (name if source == "hub" else folder.name),
        source=source,
        weights_hash=sha256[:HASH_DIGITS],
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
        training_data=_read_training_data(folder),
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
    path = paths.expanded(Path(name))
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

    config = ClipConfig.from_json(read_config(folder / "config.json"), folder / "config.json")
    state = {name: tensor for file in _weight_files(folder) for name, tensor in read_state(file).items()}
    check_finite(state, folder, BackboneError, FETCH_AGAIN)
    # Copies: what was mapped from a file would change, and be read, with it.
    state = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    return model_of(config, state, folder, spare=True)


def _weight_files(folder: Path) -> list[Path]:
    """The files with a model's weights; large models have several, and an index that names them."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            parts = read_config(index).get("weight_map")
            named = sorted(map(str, parts.values())) if isinstance(parts, dict) else []
            if not named or not all(Path(part).name == part for part in named):
                raise BackboneError(f"{index} names no files of this folder.", FETCH_AGAIN)
            return [folder / part for part in dict.fromkeys(named)]
    raise BackboneError(
        f"{folder} can't be loaded as a CLIP model: it has neither model.safetensors nor pytorch_model.bin.",
        "Check that it holds a CLIP model in transformers form with all its files.",
    )


def _read_normalisation(folder: Path) -> tuple[Channels, Channels]:
    path = folder / "preprocessor_config.json"
    return normalisation(read_config(path) if path.is_file() else {}, "image_mean", "image_std", path)


def _read_training_data(folder: Path) -> tuple[str, ...] | None:
    path = folder / "training.json"
    data = read_config(path).get("training_data") if path.is_file() else None
    if data is not None and not (isinstance(data, list) and all(isinstance(name, str) for name in data)):
        raise BackboneError(f"{path} names no data sets in training_data.", "Give a list of names, or leave it out.")
    return None if data is None else tuple(data)


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
