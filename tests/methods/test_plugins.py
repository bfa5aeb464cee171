"""The worked example of the README, loaded as users load it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch

from vlmad_core import cards, cli
from vlmad_core.backbones import features
from vlmad_core.errors import MethodError
from vlmad_core.inference.engine import load_engine
from vlmad_core.live.predict import predict
from vlmad_core.methods import create_method, list_methods, load_card, load_plugin, plugins, registry
from vlmad_core.store.reader import open_store

EXAMPLE = Path(__file__).parent / "example_method.py"
NEW_FEATURE = Path(__file__).parents[2] / "examples" / "own_method.py"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(cards, "_ADDED", dict(cards._ADDED))
    monkeypatch.setattr(features, "FEATURES", dict(features.FEATURES))
    monkeypatch.setattr(plugins.sys, "modules", plugins.sys.modules.copy())
    monkeypatch.delenv("VLMAD_PLUGINS", raising=False)


def test_the_example_is_short_and_scores(backbone, pixels, reference_pixels):
    assert len(EXAMPLE.read_text().splitlines()) < 60
    assert load_plugin(EXAMPLE) == ("mean_distance",)
    assert list_methods()[-1] == "mean_distance"
    assert load_card("mean_distance").title == "Distance from the mean"
    method = create_method("mean_distance", power=2.0)
    assert method.title() == "Distance from the mean"
    request = method.needs(backbone.info, 2)
    scorer = method.prepare("nut", backbone, backbone.encode_images(reference_pixels, request))
    features = backbone.encode_images(torch.cat([pixels, reference_pixels]), request)
    scores = scorer.score(features).image_score
    assert scores.shape == (7,)
    assert scores[5:].mean() < scores[:5].mean()
    with pytest.raises(MethodError, match="no setting 'powr'"):
        create_method("mean_distance", powr=1)


def test_a_file_is_run_once():
    assert load_plugin(EXAMPLE) == ("mean_distance",)
    assert load_plugin(EXAMPLE) == ()


def test_command_line_names_it_to_other_processes():
    parser = argparse.ArgumentParser()
    plugins.add_plugin_argument(parser)
    args = parser.parse_args(["--plugin", str(EXAMPLE)])
    plugins.use_plugins(args.plugin)
    assert "mean_distance" in list_methods()
    assert os.environ["VLMAD_PLUGINS"] == str(EXAMPLE)


def test_a_bad_plugin_costs_nothing_else(tmp_path, monkeypatch):
    bad, empty = tmp_path / "bad.py", tmp_path / "empty.py"
    bad.write_text("import vlmad_core\nraise RuntimeError('half done')\n")
    empty.write_text("x = 1\n")
    paths = [str(bad), str(tmp_path / "absent.py"), str(empty), str(EXAMPLE)]
    monkeypatch.setenv("VLMAD_PLUGINS", os.pathsep.join(paths))
    with pytest.warns(UserWarning, match="plugin") as warned:
        problems = plugins.load_all_plugins()
    assert len(problems) == len(warned) == 3
    assert "bad.py can't be run: RuntimeError: half done" in problems[0]
    assert "There is no plugin" in problems[1]
    assert "@register_method" in problems[2]
    assert "mean_distance" in list_methods()


def test_an_entry_point_is_loaded(monkeypatch):
    class Entry:
        name, value = "mine", "mine:Method"

        @staticmethod
        def load():
            load_plugin(EXAMPLE)

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry] if group == "vlmad.methods" else [])
    assert plugins.load_all_plugins() == ()
    assert "mean_distance" in list_methods()


def test_an_installed_package_brings_a_method(tmp_path, monkeypatch):
    """The real search for entry points, on a package laid out as pip leaves one."""
    (tmp_path / "my_methods.py").write_text(EXAMPLE.read_text())
    folder = tmp_path / "my_methods-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[vlmad.methods]\nmean = my_methods\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.load_all_plugins() == ()
    assert "mean_distance" in list_methods()


def test_a_plugin_cannot_take_a_known_name(tmp_path):
    path = tmp_path / "thief.py"
    path.write_text(EXAMPLE.read_text().replace('"mean_distance"', '"winclip"'))
    with pytest.raises(MethodError, match="Two methods are called 'winclip'"):
        load_plugin(path)
    assert create_method("winclip").title() == "WinCLIP"


@pytest.mark.usefixtures("quick_disk")
def test_one_file_brings_a_method_and_the_feature_it_reads(tiny_clip, tiny_dataset, tmp_path, content_of):
    """From the images to a run, to a cache and back, and to the live demo; no other file is touched."""
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    words = ["precompute", "--plugin", str(NEW_FEATURE), "--dataset", str(data), "--method", "odd_patch", "clip_ac"]
    words += ["--backbone", str(tiny_clip), "--threads", "1", "--latency", "2"]
    cache = ["--cache", "--cache-dir", str(tmp_path / "cache"), "--cache-storage", "full"]
    for name, more in (("plain", []), ("cold", cache), ("warm", cache)):
        assert cli.main([*words, *more, "--store", str(tmp_path / name)]) == 0
    runs = {name: open_store(tmp_path / name).runs[-1] for name in ("plain", "cold", "warm")}
    assert {run.key.method for run in runs.values()} == {"odd_patch"}
    assert runs["plain"].units["bolt"].profile["speed"]["batch_1"]["images"] >= 2
    assert [runs[name].units["bolt"].profile["cache"]["computed"] for name in ("cold", "warm")] == [10, 0]
    scores = {name: open_store(tmp_path / name).images(run.id, "bolt")["score"] for name, run in runs.items()}
    assert scores["warm"].tolist() == scores["cold"].tolist() == pytest.approx(scores["plain"].tolist(), abs=1e-6)
    engine = load_engine(str(tiny_clip))
    image = data / "bolt" / "test" / "good" / "000.png"
    (judged,) = predict(image, "bolt", ["odd_patch"], backbone=engine, stores=[]).images
    found = open_store(tmp_path / "plain").images(runs["plain"].id, "bolt").set_index("image_id")["score"]
    assert judged.opinions[0].prediction.image_score == pytest.approx(found["bolt/test/good/000.png"], abs=1e-6)
