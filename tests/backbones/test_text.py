from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vlmad_core.backbones import ClipBackbone, load_backbone
from vlmad_core.backbones.text import embed_learned_prompts, embed_prompts, token_trees
from vlmad_core.errors import BackboneError
from vlmad_core.prompts import load_ensemble

PROMPTS = ["a nut", "a photo of a flawless metal nut for inspection", "x"]


def test_cutting_to_the_longest_prompt_is_exact(transformers_twin):
    """The same embeddings as transformers' own forward over all 77 places."""
    golden = Path(__file__).parents[1] / "golden" / "april_gan"
    model = load_backbone(str(golden)).model
    full = load_file(golden / "april_gan.safetensors")["prompt_tokens.abnormal"][:12]
    cut = [row[: row.index(max(row)) + 1] for row in full.tolist()]
    assert max(map(len, cut)) < 20
    with torch.no_grad():
        expected = transformers_twin(model).get_text_features(input_ids=full).pooler_output
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


WORDS = load_ensemble("winclip")
PROMPTS = [p for noun in ("nut", "metal nut") for p in (*WORDS.normal_prompts(noun), *WORDS.abnormal_prompts(noun))]


def paths(tree):
    """Every prompt of a tree as its token ids, read from its end to the root."""
    for prompt, end in zip(tree.prompts, tree.ends, strict=True):
        ids, node = [], end
        while node >= 0:
            assert tree.depths[node] == tree.depths[tree.parents[node]] + 1 if tree.parents[node] >= 0 else True
            ids.append(tree.tokens[node])
            node = tree.parents[node]
        yield prompt, ids[::-1]


@pytest.mark.parametrize("most", [1, 7, 64, 10_000])
def test_trees_hold_every_prompt_and_share_beginnings(most):
    prompts = [[1, 5, 6, 2], [1, 5, 2], [1, 5, 6, 2], [1], [1, 9, 9, 9, 2], [1, 5, 6]]
    trees = list(token_trees(prompts, most))
    found = dict(pair for tree in trees for pair in paths(tree))
    assert [found[i] for i in range(len(prompts))] == prompts
    assert all(len(tree.tokens) <= most for tree in trees) or most < 5
    if most == 10_000:
        assert len(trees) == 1
        assert len(trees[0].tokens) == len({tuple(p[:k]) for p in prompts for k in range(1, len(p) + 1)})


def test_a_token_sees_what_comes_before_it_and_nothing_else():
    tree = next(token_trees([[1, 5, 6], [1, 7, 8]]))
    sees = tree.mask(torch.float32)[0, 0] == 0
    by_path = {tuple(ids): end for (_, ids), end in zip(paths(tree), tree.ends, strict=True)}
    for ids, end in by_path.items():
        assert [tree.tokens[i] for i in range(len(tree.tokens)) if sees[end, i]] == list(ids)


def test_embeddings_are_those_of_one_prompt_at_a_time(backbone: ClipBackbone):
    shared = backbone.encode_text_shared(PROMPTS)
    plain = backbone.encode_text(PROMPTS)
    assert (shared - plain).abs().max() < 1e-5 * plain.norm(dim=-1).max()
    counted = sum(len(tree.tokens) for tree in token_trees(backbone.tokenize(PROMPTS)))
    assert counted < 0.7 * sum(len(ids) for ids in backbone.tokenize(PROMPTS))
    assert backbone.encode_text_shared([]).shape == (0, backbone.info.embed_dim)


def test_prompts_that_are_too_long_are_named(backbone: ClipBackbone):
    long = "a photo of a " + "very " * backbone.info.context_length + "long nut"
    assert list(backbone.over_length(["nut", long])) == [long]
    assert backbone.over_length([long])[long] > backbone.info.context_length
    with pytest.raises(BackboneError, match="reads at most"):
        backbone.encode_text_shared(["nut", long])
