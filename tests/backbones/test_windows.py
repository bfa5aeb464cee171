"""Windows against full-length masking, and which windows there are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from vlmad_core.backbones import FeatureRequest, load_backbone, windows
from vlmad_core.backbones.clip import extract_features
from vlmad_core.backbones.windows import window_indices, window_starts
from vlmad_core.errors import BackboneError


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_gathered_windows_are_the_masked_full_length_forward(backbone, pixels, scale):
    """Tokens outside a window are absent: the same as the full sequence with all other keys masked."""
    model = backbone.model
    found = backbone.encode_images(pixels, FeatureRequest(windows=frozenset({scale}))).windows[scale]
    with torch.no_grad():
        for number, patches in enumerate(window_indices((4, 4), scale)):
            mask = torch.full((1, 1, 1, 17), float("-inf"))
            mask[..., 0] = 0.0
            mask[..., patches + 1] = 0.0
            hidden = model.vision_model.pre_layrnorm(model.vision_model.embeddings(pixels))
            for layer in model.vision_model.encoder.layers:
                hidden = layer(hidden, attention_mask=mask.expand(1, 1, 17, 17))
            expected = model.visual_projection(model.vision_model.post_layernorm(hidden[:, 0]))
            torch.testing.assert_close(found[:, number], expected, atol=2e-5, rtol=1e-4)


def test_token_budget_bounds_the_batch_and_not_the_result(backbone, pixels):
    request = FeatureRequest(windows=frozenset({2, 3}))
    whole = extract_features(backbone.model, pixels, request)
    lengths = []
    inside = backbone.model.vision_model.encoder.layers[0].mlp
    hook = inside.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[0] * args[0].shape[1]))
    bounded = extract_features(backbone.model, pixels, request, token_budget=50)
    hook.remove()
    assert 40 < max(lengths) <= 50
    for scale in (2, 3):
        torch.testing.assert_close(bounded.windows[scale], whole.windows[scale], atol=2e-6, rtol=1e-5)


def test_on_a_cpu_the_bound_is_what_its_cache_holds(backbone, pixels, monkeypatch):
    request = FeatureRequest(windows={2, 3})
    whole = backbone.encode_images(pixels, request)
    lengths = []
    inside = backbone.model.vision_model.encoder.layers[0].mlp
    hook = inside.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[0] * args[0].shape[1]))
    hidden = inside.fc1.out_features * 4
    monkeypatch.setattr(windows, "MOST_CACHE_BYTES", 30 * hidden)
    bounded = backbone.encode_images(pixels, request)
    hook.remove()
    assert 20 <= max(lengths) <= 30
    for scale in (2, 3):
        torch.testing.assert_close(bounded.windows[scale], whole.windows[scale], atol=2e-6, rtol=1e-5)


def test_windows_on_grids_that_are_not_square():
    indices = window_indices((2, 5), 2)
    assert indices.shape == (4, 4)
    assert indices[-1].tolist() == [3, 4, 8, 9]
    assert F.one_hot(indices, 10).sum(dim=(0, 1)).tolist() == [1, 2, 2, 2, 1] * 2


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_every_patch_is_covered_whatever_the_stride(rows, columns, side, stride):
    if stride > side or side > min(rows, columns):
        return
    strided, every = window_indices((rows, columns), side, stride), window_indices((rows, columns), side)
    assert set(strided.flatten().tolist()) == set(range(rows * columns))
    places = [every.tolist().index(window) for window in strided.tolist()]
    assert places == sorted(set(places)), "some of all windows, in their order"
    corners = {(int(window[0]) // columns, int(window[0]) % columns) for window in strided}
    assert corners == {(r, c) for r in window_starts(rows, side, stride) for c in window_starts(columns, side, stride)}


def test_windows_with_a_stride_are_some_of_all(backbone, pixels):
    """Asked for alone they pass by themselves; beside all windows of their side they are read off those."""
    alone = backbone.encode_images(pixels, FeatureRequest(windows={(3, 2)}))
    both = backbone.encode_images(pixels, FeatureRequest(windows={3, (3, 2)}))
    assert list(alone.tensors()) == ["windows.3.2"]
    assert sorted(both.tensors()) == ["windows.3", "windows.3.2"]
    # A grid of 4 x 4: windows of 3 begin at patch 0, and at 1 flush with the border.
    torch.testing.assert_close(alone.windows[3, 2], both.windows[3], atol=2e-6, rtol=1e-5)
    assert torch.equal(both.windows[3, 2], both.windows[3])
    two = backbone.encode_images(pixels, FeatureRequest(windows={2, (2, 2)}))
    assert torch.equal(two.windows[2, 2], two.windows[2][:, [0, 2, 6, 8]])


def test_a_request_knows_what_windows_with_a_stride_take(backbone):
    request = FeatureRequest(windows={(2, 2)})
    assert request.bytes_per_image(backbone.info) == 4 * backbone.info.embed_dim * 4
    assert request.windows == {(2, 2)}
    with pytest.raises(BackboneError, match="1 to 2 whole number"):
        FeatureRequest(windows={(2, 2, 2)})


def test_a_stride_that_leaves_patches_out(backbone, pixels):
    with pytest.raises(BackboneError, match="stride between 1 and 2"):
        backbone.encode_images(pixels, FeatureRequest(windows={(2, 3)}))


def test_all_forms_of_attention_are_the_same():
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(6, n, 3 * 16, generator=generator) for n in (1, 5, 5))
    projected = windows._Projected(queries, keys, values)
    expected = windows._fused(projected, 3, 0.25)
    for mix in (windows._in_two_products, windows._written_out):
        torch.testing.assert_close(mix(projected, 3, 0.25), expected)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a pass says so."""
    now = [0.0]
    monkeypatch.setattr(windows.time, "perf_counter", lambda: now[0])
    return now


def passes(clock, seconds, compiling):
    """A pass in a form: so many seconds, the first compiled one some more."""
    done = []

    def encode(form):
        clock[0] += seconds[form] + (compiling if form == "compiled" and form not in done else 0.0)
        done.append(form)

    return encode, done


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("seconds", "compiling", "ahead", "form"),
    [
        ({"plain": 2.0, "compiled": 1.0}, 20.0, 100, "compiled"),
        ({"plain": 2.0, "compiled": 1.85}, 0.0, 100, "plain"),  # gains less than a tenth
        ({"plain": 2.0, "compiled": 1.0}, 85.0, 100, "plain"),  # compiling eats it up
        ({"plain": 2.0, "compiled": 1.0}, 85.0, 1000, "compiled"),
        ({"plain": 2.0, "compiled": 3.0}, 0.0, 1000, "plain"),
    ],
)
def test_compiled_blocks_must_win_a_tenth_of_all_that_is_ahead(clock, seconds, compiling, ahead, form):
    encode, _ = passes(clock, seconds, compiling)
    found, reason = windows.settle_form(encode, CPU, "bfloat16", ahead)
    assert found == form
    assert f"{seconds['plain'] / seconds['compiled']:.2f} times the speed after {compiling:.0f} s" in reason


@pytest.mark.parametrize(("precision", "ahead", "tried"), [("float32", 10_000, 0), ("bfloat16", 10, 3)])
def test_compiling_is_not_tried_in_float32_or_for_little_work(clock, precision, ahead, tried):
    encode, done = passes(clock, {"plain": 2.0, "compiled": 0.1}, 0.0)
    assert windows.settle_form(encode, CPU, precision, ahead) == ("plain", None)
    assert done == ["plain"] * tried


def test_attention_written_out_is_the_same(backbone, pixels, monkeypatch):
    """The form that is compiled; nothing is compiled here."""
    request = FeatureRequest(windows={2, 3})
    plain = backbone.encode_images(pixels, request)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    windows._compiled_advance.cache_clear()
    written = dataclasses.replace(backbone, window_form="compiled").encode_images(pixels, request)
    windows._compiled_advance.cache_clear()
    for scale in (2, 3):
        assert not torch.equal(written.windows[scale], plain.windows[scale]), "computed in another order"
        torch.testing.assert_close(written.windows[scale], plain.windows[scale], atol=2e-6, rtol=1e-5)


def test_where_torch_cannot_compile_windows_are_computed_all_the_same(backbone, pixels, monkeypatch, caplog):
    def failing(function):
        def call(*block):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler")

        return call

    request = FeatureRequest(windows={2})
    plain = backbone.encode_images(pixels, request).windows[2]
    monkeypatch.setattr(torch, "compile", failing)
    windows._compiled_advance.cache_clear()
    found = dataclasses.replace(backbone, window_form="compiled").encode_images(pixels, request).windows[2]
    windows._compiled_advance.cache_clear()
    assert torch.equal(found, plain)
    assert caplog.text.count("can't compile here: no C++ compiler") == 1


def test_the_last_blocks_queries_lie_together(tiny_clip, pixels):
    """In bfloat16 a product with rows that don't would copy the weights for each of them."""
    half = load_backbone(str(tiny_clip), precision="bfloat16")
    seen = []
    query = half.model.vision_model.encoder.layers[-1].self_attn.q_proj
    hook = query.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    half.encode_images(pixels, FeatureRequest(windows={2}))
    hook.remove()
    assert [rows.shape[1] for rows in seen] == [1]
    assert seen[0].is_contiguous()
