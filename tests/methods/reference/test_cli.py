"""Every method with public code against that code's stored outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vlmad_core import cli
from vlmad_core.methods.reference.cli import check_reference
from vlmad_core.methods.reference.folder import ReferenceFolderError

GOLDEN = Path(__file__).parents[2] / "golden"
EXPECTED = {
    "winclip": {"zero_shot.anomaly_map", "zero_shot.image_score", "2_shot.anomaly_map", "window_embeddings_3"},
    "april_gan": {"zero_shot.anomaly_map", "2_shot.reference_map", "2_shot.image_score_transductive", "stage_tokens.9"},
    "anomaly_clip": {"anomaly_map", "anomaly_map_unsmoothed", "image_score", "text_embeddings", "patch_features.2"},
}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    target = tmp_path / request.param
    shutil.copytree(GOLDEN / request.param, target)
    return target


def rewrite(folder: Path, change) -> None:
    path = folder / f"{folder.name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("method", EXPECTED)
def test_agrees_with_public_code(method):
    outcome = check_reference(GOLDEN / method)
    assert outcome.method == method
    assert set(outcome.outputs) >= EXPECTED[method]
    assert outcome.not_compared == ()
    for name, difference in outcome.outputs.items():
        assert difference.ok, f"{name}: {difference}"
        assert difference.tolerance == (1e-4 if "map" in name or "score" in name else 1e-5)


@pytest.mark.parametrize("folder", ["april_gan"], indirect=True)
def test_a_difference_is_found(folder, capsys):
    rewrite(folder, lambda t: t["zero_shot.anomaly_map"][0, 0, 0].add_(2e-4))
    assert cli.main(["check-reference", str(folder), "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["method"] == "april_gan"
    assert not shown["ok"]
    assert not shown["outputs"]["zero_shot.anomaly_map"]["ok"]
    assert shown["outputs"]["zero_shot.image_score"]["ok"]
    assert cli.main(["check-reference", str(folder)]) == 1
    assert "TOO FAR" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["anomaly_clip"], indirect=True)
def test_the_activation_is_the_folders(folder):
    config = folder / "open_clip_config.json"
    content = json.loads(config.read_text())
    content["model_cfg"]["quick_gelu"] = False
    config.write_text(json.dumps(content))
    outputs = check_reference(folder).outputs
    assert not outputs["patch_features.6"].ok


@pytest.mark.parametrize("folder", ["april_gan"], indirect=True)
def test_other_shots_and_stages_are_read_from_the_folder(folder):
    rewrite(folder, lambda t: t.update({name.replace("2_", "1_"): t[name].clone() for name in t if "2_shot." in name}))
    outputs = check_reference(folder).outputs
    assert outputs["2_shot.reference_map"].ok
    # One reference instead of two: computed, and rightly found to be another map.
    assert not outputs["1_shot.reference_map"].ok


@pytest.mark.parametrize("folder", ["anomaly_clip"], indirect=True)
def test_what_is_missing_is_named(folder):
    rewrite(folder, lambda t: t.pop("tokenized_prompts"))
    with pytest.raises(ReferenceFolderError, match="tokenized_prompts"):
        check_reference(folder)
    (folder / "anomaly_clip.json").write_text("{}")
    rewrite(
        folder,
        lambda t: t.update(
            tokenized_prompts=load_file(GOLDEN / "anomaly_clip/anomaly_clip.safetensors")["tokenized_prompts"]
        ),
    )
    with pytest.raises(ReferenceFolderError, match="features_list"):
        check_reference(folder)


def test_no_reference_folder(tmp_path, capsys):
    with pytest.raises(ReferenceFolderError, match="holds no reference outputs"):
        check_reference(tmp_path)
    assert cli.main(["check-reference", str(tmp_path / "nowhere")]) == 1
    assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["april_gan"], indirect=True)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("april_gan.json", b"[" * 100_000),
        ("prompts.json", b'{"normal": 3}'),
        ("prompts.json", b'{"abnormal": [1]}'),
        ("april_gan.safetensors", b"\xff" * 100),
    ],
)
def test_crafted_files_are_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ReferenceFolderError, match="april_gan"):
        check_reference(folder)
