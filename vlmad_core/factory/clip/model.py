"""The bundled CLIP's shape, its tokenizer (byte-level byte-pair encoding as CLIP has it, but small), and its files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.info import OPENAI_MEAN, OPENAI_STD
from vlmad_core.backbones.loading import BUNDLED_FOLDER
from vlmad_core.errors import BackboneError

IMAGE_SIZE = 128
PATCH_SIZE = 8
CONTEXT_LENGTH = 48
PROJECTION = 128
PATCH_STD = 0.05
"""Standard deviation of the first patch embedding; transformers' own (about .004) starts too small."""
START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 1280

_WORDS = Regex(r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def bundled_config(vocabulary: int) -> CLIPConfig:
    """Vision: 6 blocks of width 192 on 16 x 16 patches. Text: 3 blocks of width 128."""
    shared = {"hidden_act": "gelu", "projection_dim": PROJECTION, "layer_norm_eps": 1e-5}
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=3,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        **shared,
    )
    text = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        **shared,
    )
    return CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION)


def new_model(tokenizer: CLIPTokenizer, seed: int) -> Any:
    """An untrained model; equal for equal seeds."""
    torch.manual_seed(seed)
    model = CLIPModel(bundled_config(len(tokenizer)))
    with torch.no_grad():
        model.vision_model.embeddings.patch_embedding.weight.normal_(std=PATCH_STD)
        model.text_model.embeddings.token_embedding.weight.mul_(4.0)
        model.logit_scale.fill_(3.0)
    return model


def load_model(folder: Path) -> tuple[Any, CLIPTokenizer, str]:
    """A trained model of this shape to go on from.

    Args:
        folder: As ``save_model`` writes it, or ``bundled`` for the one that comes with the program.

    Returns:
        The model with its parameters trainable, its tokenizer, and the hash of its weights.

    Raises:
        BackboneError: If it can't be read or has another shape.
    """
    if folder == Path("bundled"):
        folder = BUNDLED_FOLDER
    weights_hash = load_backbone(str(folder)).info.weights_hash  # says what is wrong with a folder, too
    model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    own = bundled_config(model.config.text_config.vocab_size)
    for tower in ("vision_config", "text_config"):
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"):
            have, want = (getattr(getattr(config, tower), name, None) for config in (model.config, own))
            if have != want:
                raise BackboneError(
                    f"{folder} is not of the bundled CLIP's shape: {name} of its {tower} is {have}, not {want}.",
                    "Go on from a folder that `train bundled` wrote.",
                )
    return model, CLIPTokenizer.from_pretrained(folder), weights_hash


def save_model(model: Any, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a folder that plain ``CLIPModel.from_pretrained`` reads; weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(OPENAI_MEAN),
        "image_std": list(OPENAI_STD),
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n", encoding="utf-8")


def train_tokenizer(
    corpus: Iterable[str], folder: Path, size: int = VOCABULARY, context_length: int = 32
) -> CLIPTokenizer:
    """Learn a vocabulary and save it in the form ``CLIPTokenizer`` reads.

    The start token has the second-last id and the end token the last, as in CLIP; padding is the end token.
    Every byte has an entry, so any prompt can be written; rare words take more tokens.

    Args:
        corpus: Sentences to learn from.
        folder: Where the tokenizer's files go.
        size: Entries of the vocabulary, the two special ones included.
        context_length: Most tokens a prompt may have.

    Returns:
        The tokenizer, as read back from the folder.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    endings = [f"{letter}</w>" for letter in sorted(alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2 - len(endings),
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(corpus, trainer)
    learned = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    entries = list(dict.fromkeys([*(token for token, _ in learned), *endings]))
    vocabulary = {token: number for number, token in enumerate([*entries, START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    merges = _merges(learner)
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=context_length,
    )
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    pairs = json.loads(learner.to_str())["model"]["merges"]
    return [(str(left), str(right)) for left, right in (p.split(" ") if isinstance(p, str) else p for p in pairs)]
