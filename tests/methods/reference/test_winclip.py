"""WinCLIP on models and inputs of other shapes, by masks and literal loops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlmad_core import cli
from vlmad_core.errors import VlmadError
from vlmad_core.methods.reference.cli import check_reference

# patch, grid, depth, QuickGELU, grid of the input (None: the model's own), shots
WINCLIP: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((8, 4, 3, False, None, (1, 3)), {}),
    ((14, 5, 5, True, None, (1, 3)), {}),
    ((32, 3, 4, False, None, (2,)), {}),
    ((16, 6, 12, True, None, (1,)), {"scales": (2,)}),
    ((8, 4, 3, False, 7, (3,)), {"scales": (2, 3, 4), "temperature": 0.01}),
    ((16, 7, 3, True, 4, (1, 3)), {"scales": (1, 3)}),
)


def spread(values: Tensor, side: int, scale: int) -> Tensor:
    """[n, side, side]: for each patch the harmonic mean over the windows that cover it, by loops."""
    count = side - scale + 1
    out = torch.zeros(len(values), side, side, dtype=torch.float64)
    for row, column in product(range(side), repeat=2):
        cover = [
            values[:, top * count + left].double()
            for top, left in product(range(count), repeat=2)
            if top <= row < top + scale and left <= column < left + scale
        ]
        out[:, row, column] = len(cover) / torch.stack([1.0 / value for value in cover]).sum(dim=0)
    return out


@pytest.fixture
def winclip_folder(make_oracle: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a WinCLIP reference."""

    def make(shape: tuple[Any, ...], scales: Sequence[int] = (2, 3), temperature: float = 0.07) -> Path:
        oracle = make_oracle(shape, 2, {"mode": "bicubic", "antialias": True})
        side, size = oracle.shape.side // oracle.shape.patch, oracle.shape.side
        tokens = {"normal": oracle.tokens(4), "abnormal": oracle.tokens(3)}
        classes = torch.stack([oracle.text_features(ids).mean(dim=0) for ids in tokens.values()])

        def read(pixels: Tensor) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
            last = oracle.states(pixels)[-1]
            patches = oracle.model.vision_model.post_layernorm(last[:, 1:])
            windows = {k: oracle.window_embeddings(pixels, k) for k in scales}
            return oracle.project(last[:, 0]), patches, windows

        image, patches, windows = read(oracle.pixels)
        _, known_patches, known_windows = read(oracle.references)
        text = oracle.probability(image, classes, 1 / temperature).double()
        maps = [spread(oracle.probability(windows[k], classes, 1 / temperature), side, k) for k in scales]
        maps.append(text[:, None, None].expand_as(maps[0]))
        zero = len(maps) / torch.stack([1 / m for m in maps]).sum(dim=0)
        tensors = {
            **{f"prompt_tokens.{name}": ids for name, ids in tokens.items()},
            "pixel_values": oracle.pixels,
            "reference_pixel_values": oracle.references,
            "image_embeddings": image,
            "patch_tokens": patches,
            "text_embeddings": classes,
            **{f"window_embeddings_{k}": w for k, w in windows.items()},
            "zero_shot.image_score": text.float(),
            "zero_shot.anomaly_map": oracle.enlarge(zero[:, None].float(), size, align=False)[:, 0],
        }
        for shots in oracle.shape.shots:
            near = [
                spread(0.5 * oracle.nearest_distance(windows[k], known_windows[k][:shots].flatten(0, 1)), side, k)
                for k in scales
            ]
            patch = 0.5 * oracle.nearest_distance(patches, known_patches[:shots].flatten(0, 1)).reshape(-1, side, side)
            association = torch.stack([*near, patch.double()]).mean(dim=0)
            fused = 0.5 * (zero + association)
            tensors[f"{shots}_shot.anomaly_map"] = oracle.enlarge(fused[:, None].float(), size, align=False)[:, 0]
            tensors[f"{shots}_shot.image_score"] = (0.5 * (text + association.flatten(1).amax(dim=1))).float()
        settings = {"class_name": "metal nut", "temperature": temperature, "scales": list(scales)}
        folder = oracle.write(tmp_path / "winclip", "winclip", settings, tensors)
        prompts = {name: [f"{name} prompt {i}" for i in range(len(ids))] for name, ids in tokens.items()}
        (folder / "prompts.json").write_text(json.dumps(prompts))
        return folder

    return make


@pytest.mark.parametrize(("shape", "settings"), WINCLIP)
def test_winclip(agrees, winclip_folder, shape, settings):
    folder = winclip_folder(shape, **settings)
    agrees(folder)


@pytest.fixture
def folder(winclip_folder: Callable[..., Path]) -> Path:
    return winclip_folder((8, 4, 2, False, None, (1,)))


def test_settings_and_outputs_that_may_be_absent(folder, agrees, change_tensors):
    (folder / "winclip.json").write_text("{}")
    agrees(folder)
    change_tensors(folder, lambda t: [t.pop(name) for name in ("zero_shot.anomaly_map", "1_shot.image_score")])
    assert set(check_reference(folder).outputs) >= {"zero_shot.image_score", "1_shot.anomaly_map"}


def test_what_can_not_be_compared_is_said(folder, change_tensors, capsys):
    change_tensors(folder, lambda t: t.update({"1_shot.image_score_of_theirs": t["1_shot.image_score"].clone()}))
    assert cli.main(["check-reference", str(folder)]) == 0
    assert "1_shot.image_score_of_theirs not compared" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["check-reference", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_compared"] == ["1_shot.image_score_of_theirs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"5_shot.anomaly_map": t["1_shot.anomaly_map"].clone()}), "5-shot outputs, but 1 referen"),
        (lambda t: t.update(pixel_values=t["pixel_values"][..., :8].clone()), r"the shape \(3, 3, 32, 8\)"),
        (lambda t: t.pop("pixel_values"), "lacks the tensor 'pixel_values'"),
        (lambda t: t.update({"prompt_tokens.normal": t["prompt_tokens.normal"][:2].clone()}), "but tokens of 2"),
    ],
)
def test_damaged_references_are_named(folder, change_tensors, change, message, capsys):
    change_tensors(folder, change)
    assert cli.main(["check-reference", str(folder)]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_missing_prompts_are_named(folder):
    (folder / "prompts.json").unlink()
    with pytest.raises(VlmadError, match="lacks the normal prompts"):
        check_reference(folder)
    (folder / "prompts.json").write_text("[]")
    with pytest.raises(VlmadError, match="holds no json object"):
        check_reference(folder)
