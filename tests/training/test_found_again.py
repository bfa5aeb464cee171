"""From ``train`` to the demo, as the README tells it: what was trained is found by all who look for it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

import vlmad_core
from vlmad_core.analysis.transfer import fill_commands
from vlmad_core.backbones import load_backbone
from vlmad_core.cli import main
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.live.choices import method_choices

METHOD = "april_gan"


def test_what_was_trained_is_found_from_the_plan_to_the_demo(
    tiny_dataset, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VLMAD_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("widgets", "gadgets"):
        tiny_dataset(tmp_path / "data" / name, categories=("bolt",), train=1, normal=1, defective=1)
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))
    backbone = load_backbone(str(tiny_clip))
    weights = backbone.info.weights_hash

    # The commands that the Transfer page prints, as they stand there; training is cut short.
    train, judge = fill_commands(METHOD, ["widgets"], "widgets", str(tiny_clip), weights)
    assert main([*shlex.split(train)[3:], "--epochs", "1", "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["parameters"])
    assert judge.endswith(f"{METHOD}={path.as_posix()}")
    assert fill_commands(METHOD, ["widgets"], "widgets", str(tiny_clip), weights) == (judge,)
    assert main([*shlex.split(judge)[3:], "--latency", "0", "--json"]) == 0
    assert "Not run" not in capsys.readouterr().out

    # Nobody is told where they are.
    (planned,) = build_plan(make_options({"datasets": "gadgets", "methods": [METHOD], "backbone": str(tiny_clip)})).runs
    assert planned.record.provenance.data["trained"]["file"] == path.name
    choices = {choice.id: choice for choice in method_choices(backbone.info, 0)}
    assert choices[METHOD].reason == ""
    image = tmp_path / "part.png"
    Image.new("RGB", (40, 40), "grey").save(image)
    judged = vlmad_core.predict(image, "bolt", [METHOD], backbone=str(tiny_clip))
    (opinion,) = judged.images[0].opinions
    assert opinion.prediction.error is None
    assert opinion.prediction.trained_on == ("widgets",)
    assert main(["methods", METHOD, "--json"]) == 0
    assert path.as_posix() in json.loads(capsys.readouterr().out)[0]["parameters"]
    main(["doctor", "--offline", "--json"])
    found = {finding["name"]: finding["found"] for finding in json.loads(capsys.readouterr().out)}
    assert found["trained parameters"].startswith("1 in checkpoints, ")

    # The folder that results folders have for parameters is read too, after the one that ``train`` writes.
    Path("results").mkdir(exist_ok=True)
    path.parent.parent.rename("results/parameters")
    judged = vlmad_core.predict(image, "bolt", [METHOD], backbone=str(tiny_clip))
    assert judged.images[0].opinions[0].prediction.trained_on == ("widgets",)
