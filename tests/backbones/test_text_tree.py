from __future__ import annotations

import pytest
import torch

from vlmad_core.backbones import ClipBackbone
from vlmad_core.backbones.text_tree import encode_text_shared, over_length, token_trees
from vlmad_core.errors import BackboneError
from vlmad_core.prompts import load_ensemble

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
    steps: list[int] = []
    shared = encode_text_shared(backbone, PROMPTS, steps.append)
    plain = backbone.encode_text(PROMPTS)
    assert sum(steps) == len(PROMPTS)
    assert (shared - plain).abs().max() < 1e-5 * plain.norm(dim=-1).max()
    counted = sum(len(tree.tokens) for tree in token_trees(backbone.tokenize(PROMPTS)))
    assert counted < 0.7 * sum(len(ids) for ids in backbone.tokenize(PROMPTS))
    assert encode_text_shared(backbone, []).shape == (0, backbone.info.embed_dim)


def test_prompts_that_are_too_long_are_named(backbone: ClipBackbone):
    long = "a photo of a " + "very " * backbone.info.context_length + "long nut"
    assert list(over_length(backbone, ["nut", long])) == [long]
    assert over_length(backbone, [long])[long] > backbone.info.context_length
    with pytest.raises(BackboneError, match="reads at most"):
        encode_text_shared(backbone, ["nut", long])
