"""The bundled CLIP's tokenizer: byte-level byte-pair encoding as CLIP has it, with a small vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 1280

_WORDS = Regex(r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


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
