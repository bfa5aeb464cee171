"""Where things lie: one owner of the variables, one order for what is looked for."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from vlmad_core import paths
from vlmad_core.cli import main
from vlmad_core.errors import StoreError
from vlmad_core.store.reader import open_store, open_stores

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no variable set."""
    for name in paths.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_one_module_knows_the_variables_and_the_places() -> None:
    """What is looked for is texts, not docstrings: those may name a variable to the reader."""
    known = {*paths.VARIABLES, "checkpoints", "results/bundled", "results/reported"}
    files = [*(ROOT / "vlmad_core").rglob("*.py"), *(ROOT / "pages").rglob("*.py"), ROOT / "app.py", ROOT / "asgi.py"]
    found: dict[str, set[str]] = {}
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        found[file.relative_to(ROOT).as_posix()] = texts & known
        assert file.name == "paths.py" or 'Path("results' not in file.read_text(encoding="utf-8")
    assert found.pop("vlmad_core/paths.py") == known
    assert {file: names for file, names in found.items() if names} == {}


def test_without_variables_all_lies_below_the_current_folder() -> None:
    assert paths.store_root() == Path("results")
    assert paths.stores() == (ROOT / "results" / "bundled", Path("results"))
    assert paths.prompts_folder() == Path("results/annotations/prompts")
    assert paths.workspace() == Path("workspace")
    assert paths.training_folder() == Path("checkpoints")
    assert paths.parameter_folders([Path("store")]) == (
        Path("checkpoints"), Path("store/parameters"), ROOT / "vlmad_core" / "methods" / "parameters",
    )  # fmt: skip
    assert (paths.data_dir(), paths.named_backbone(), paths.plugin_files()) == (None, None, ())
    Path("results/bundled").mkdir(parents=True)
    assert paths.stores()[0] == Path("results/bundled")


def test_variables_are_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMAD_STORE", "somewhere/mine")
    assert paths.stores() == (Path("somewhere/mine/bundled"), Path("somewhere/mine"))
    assert paths.prompts_folder() == Path("somewhere/mine/annotations/prompts")
    assert paths.workspace() == Path("somewhere/workspace")
    assert Path("somewhere/mine/parameters") in paths.parameter_folders()
    for name, ask in {
        "VLMAD_PROMPTS_DIR": paths.prompts_folder, "VLMAD_DATA_DIR": paths.data_dir, "VLMAD_WORKSPACE": paths.workspace
    }.items():  # fmt: skip
        monkeypatch.setenv(name, "~/named")
        assert ask() == Path.home() / "named"
    monkeypatch.setenv("VLMAD_BACKBONE", "my/clip")
    assert paths.named_backbone() == "my/clip"
    paths.add_plugin_files([Path("a.py"), Path("b.py")])
    paths.add_plugin_files([Path("a.py")])
    assert paths.plugin_files() == (Path("a.py"), Path("b.py"))


def test_jobs_start_where_only_this_machine_can_ask_or_where_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = ("localhost", "127.0.0.1", "127.1.2.3", "::1"), ("0.0.0.0", "::", "", None, "10.0.0.7", "lab.example")
    assert [paths.jobs_allowed(address) for address in own] == [True] * len(own)
    assert [paths.jobs_allowed(address) for address in others] == [False] * len(others)
    monkeypatch.setenv("VLMAD_JOBS", "0")
    assert not paths.jobs_allowed("0.0.0.0")
    monkeypatch.setenv("VLMAD_JOBS", "1")
    assert all(paths.jobs_allowed(address) for address in others)


def test_where_features_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLMAD_CACHE_DIR", str(tmp_path))
    assert (paths.feature_folder(), paths.live_folder()) == (tmp_path / "features", tmp_path / "live")
    assert paths.held_weights_file() == tmp_path / "weights.json"
    monkeypatch.delenv("VLMAD_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert paths.feature_folder() == tmp_path / "xdg" / "vlmad" / "features"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert paths.feature_folder() == Path.home() / "Library" / "Caches" / "vlmad" / "features"
    monkeypatch.setenv("VLMAD_CACHE_DIR", "none")
    assert paths.live_folder() is paths.held_weights_file() is None, "nothing is kept unasked"
    assert paths.feature_folder() == Path.home() / "Library" / "Caches" / "vlmad" / "features"


def test_every_command_reads_the_store_that_pages_read(
    made_up_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLMAD_STORE", str(made_up_store(tmp_path / "mine")))
    assert main(["results", "list", "--json"]) == 0
    (run, *_) = json.loads(capsys.readouterr().out)["runs"]
    assert main(["results", "show", run["id"]]) == 0
    assert main(["export", "leaderboard", "--format", "csv"]) == 0
    assert main(["report", "--out", "report.html", "--failures", "0"]) == 0
    assert "widgets" in Path("report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    main(["doctor", "--offline", "--json"])
    found = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found[f"results in {tmp_path / 'mine'}"]["found"].startswith("2 runs")


def test_precompute_writes_where_the_variable_says(
    tiny_dataset, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMAD_STORE", str(tmp_path / "mine"))
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",), normal=2)
    command = ["precompute", "--dataset", str(data), "--method", "clip_ac", "--backbone", str(tiny_clip)]
    assert main([*command, "--latency", "0", "--json"]) == 0
    assert list((tmp_path / "mine").glob("widgets/*/bolt/unit.json"))
    assert not Path("results").exists()


def test_doctor_names_a_variable_that_is_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmad_core.doctor import check_variables

    monkeypatch.setenv("VLMAD_STROE", "x")
    monkeypatch.setenv("VLMAD_STORE", "y")
    known, unknown = check_variables()
    assert known.found == "VLMAD_STORE=y"
    assert (unknown.name, unknown.verdict) == ("VLMAD_STROE", "note")
    assert "VLMAD_STORE" in unknown.advice


def test_a_library_without_figures_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmad_core.errors import VlmadError
    from vlmad_core.libraries import OnUse

    absent = OnUse("plotly_that_is_not_there.graph_objects", "app")
    with pytest.raises(VlmadError, match=r"needs plotly_that_is_not_there\. Run: pip install -r requirements\.txt"):
        absent.Figure()
    monkeypatch.setattr(paths, "checkout", lambda: None)
    with pytest.raises(VlmadError, match=r'Run: pip install "vlm-ad\[app\]"'):
        absent.Figure()


def test_a_home_nobody_has_and_a_name_too_long_are_places_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("~nobody-of-this-name/x", "x" * 5000, "/dev/null/x"):
        monkeypatch.setenv("VLMAD_STORE", value)
        assert [Path(place) for place in paths.stores()][1] == Path(value)
        with pytest.raises(StoreError, match="There is no results folder"):
            open_store(paths.store_root())
        assert open_stores(paths.stores()).runs == ()
