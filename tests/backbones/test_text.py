from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.text import embed_learned_prompts, embed_prompts
from vlmad_core.errors import BackboneError

PROMPTS = ["a nut", "a photo of a flawless metal nut for inspection", "x"]


def test_cutting_to_the_longest_prompt_is_exact():
    """The same embeddings as transformers' own forward over all 77 places."""
    golden = Path(__file__).parents[1] / "golden" / "april_gan"
    model = load_backbone(str(golden)).model
    full = load_file(golden / "april_gan.safetensors")["prompt_tokens.abnormal"][:12]
    cut = [row[: row.index(max(row)) + 1] for row in full.tolist()]
    assert max(map(len, cut)) < 20
    with torch.no_grad():
        expected = model.get_text_features(input_ids=full).pooler_output
    torch.testing.assert_close(embed_prompts(model, cut), expected, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_embedded_alike_in_any_company(backbone, monkeypatch):
    whole = backbone.encode_text(PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(backbone.encode_text([prompt]), whole[i : i + 1], atol=1e-5, rtol=1e-4)
    monkeypatch.setattr("vlmad_core.backbones.text.PROMPT_BATCH", 2)
    torch.testing.assert_close(backbone.encode_text(PROMPTS), whole, atol=1e-5, rtol=1e-4)
    assert embed_prompts(backbone.model, []).shape == (0, 16)


def test_learned_context_made_of_words_is_the_ordinary_prompt(backbone):
    """Vectors taken from the token table give the embedding of the prompt with these words."""
    with_context, without = backbone.tokenize(["ab nut", " nut"])
    context = backbone.model.text_model.embeddings.token_embedding(torch.tensor(with_context[1:3]))[None]
    found = embed_learned_prompts(backbone.model, [without], context.detach())
    torch.testing.assert_close(found, embed_prompts(backbone.model, [with_context]), atol=1e-5, rtol=1e-4)


def test_deep_prompts_replace_positions_before_their_block(backbone):
    """The literal form: run block 1, overwrite positions 1..p, run block 2."""
    (ids,) = backbone.tokenize(["nut"])
    generator = torch.Generator().manual_seed(0)
    context, deep = torch.randn(1, 3, 32, generator=generator), torch.randn(2, 32, generator=generator)
    text = backbone.model.text_model
    with torch.no_grad():
        words = text.embeddings.token_embedding(torch.tensor(ids))
        hidden = torch.cat([words[:1], context[0], words[1:]])[None]
        hidden = hidden + text.embeddings.position_embedding.weight[: hidden.shape[1]]
        mask = torch.full((hidden.shape[1],) * 2, float("-inf")).triu(1)[None, None]
        hidden = text.encoder.layers[0](hidden, attention_mask=mask)
        hidden[:, 1:3] = deep
        hidden = text.encoder.layers[1](hidden, attention_mask=mask)
        expected = backbone.model.text_projection(text.final_layer_norm(hidden[:, -1]))
    found = embed_learned_prompts(backbone.model, [ids], context, [deep])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_learned_vectors_and_nothing_else(backbone):
    context = torch.zeros(2, 3, 32, requires_grad=True)
    deep = torch.zeros(2, 32, requires_grad=True)
    backbone.encode_learned_prompts(["nut", "bad nut"], context, [deep]).sum().backward()
    assert context.grad.abs().sum() > 0
    assert deep.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_too_long_prompts_are_named(backbone):
    with pytest.raises(BackboneError, match=r"'a{77}\.\.\.' has 202 tokens; tiny_clip reads at most 160"):
        backbone.encode_text(["a" * 200])
    with pytest.raises(BackboneError, match="Use fewer context vectors"):
        backbone.encode_learned_prompts(["nut"], torch.zeros(1, 200, 32))
