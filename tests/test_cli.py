from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmad_core import cli
from vlmad_core.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]


HEAVY = ("torch", "transformers", "scipy", "streamlit", "plotly")
LOADED = """
import sys
from vlmad_core.cli import main
code = main(sys.argv[2:])
print("loaded:", code, *sys.modules.keys() & set(sys.argv[1].split()))
"""


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("--help", ("pandas", "numpy", "pydantic")),
        ("methods", ("pandas",)),
        ("methods winclip --json", ("pandas",)),
        ("results list", ()),
        ("results --help", ()),
        ("datasets list", ("pandas",)),
        ("predict --help", ("pandas",)),
        ("precompute --help", ("pandas",)),
    ],
)
def test_what_computes_nothing_loads_no_large_library(words, more, tmp_path):
    """It would answer after seconds; in a process of its own, since tests load everything."""
    code = [sys.executable, "-c", LOADED, " ".join([*HEAVY, *more]), *words.split()]
    place = {**os.environ, "VLMAD_STORE": str(tmp_path), "VLMAD_PLUGINS": ""}
    done = subprocess.run(code, env=place, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "loaded: 0", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice"),
        (["precompute", "--no-such"], "unrecognized arguments"),
        (["precompute", "--shots", "many"], "invalid int"),
        (["precompute", "--method", "winclip"], "Give at least one: --dataset"),
        (["methods", "winclop"], "Did you mean 'winclip'"),
    ],
)
def test_wrong_use_exits_with_1_and_says_what(words, said, capsys):
    assert main(words) == 1
    assert said in capsys.readouterr().err


def test_only_what_is_there_is_offered(capsys):
    assert main(["--help"]) == 0
    offered = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert (f"\n    {name}" in offered) == command.available()


def test_every_offered_command_has_help(capsys):
    for name, command in COMMANDS.items():
        if command.module and command.available():
            assert main([name, "--help"]) == 0
            assert "usage:" in capsys.readouterr().out
        for inner, one in (command.commands or {}).items():
            if one.available():
                assert main([name, inner, "--help"]) == 0
                assert f"{name} {inner}" in capsys.readouterr().out


def test_debug_shows_the_traceback():
    from vlmad_core.errors import VlmadError

    with pytest.raises(VlmadError):
        main(["methods", "winclop", "--debug"])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_mount", stop)
    assert main(["methods"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_methods_lists_cards(capsys):
    assert main(["methods", "--json"]) == 0
    assert '"name": "winclip"' in capsys.readouterr().out
    assert main(["methods", "WinCLIP+"]) == 0
    text = capsys.readouterr().out
    assert "temperature = 0.07" in text
    assert "Jeong" in text


def test_doctor_says_what_to_do(capsys, tmp_path, made_up_store):
    from vlmad_core.doctor import check_disk, check_memory, check_stores, check_versions

    damaged = made_up_store(tmp_path / "store")
    (damaged / "stray.txt").write_text("x")
    finding = check_stores([damaged, tmp_path / "none"])
    assert [f.verdict for f in finding] == ["problem", "note"]
    assert "stray.txt" in finding[0].advice
    assert {f.name for f in check_versions()} >= {"Python", "torch", "streamlit"}
    assert check_disk(tmp_path)[0].found.endswith("GB free")
    assert check_memory()[0].name == "memory"


LONG, DEEP = "a" * 300, "[" * 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["precompute", "--dataset", LONG, "--method", "clip_ac"], "Check the path"),
        (["precompute", "--dataset", "a" * 5000, "--method", "clip_ac"], "text of 1 to 4096 characters"),
        (["precompute", "--dataset", "~nobody.here/x", "--method", "clip_ac"], "no such file or folder"),
        (["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--backbone", f"./{LONG}"], "Check the path"),
        (
            ["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--backbone", "~nobody.here/x"],
            "no backbone",
        ),
        (["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--plugin", f"{LONG}.py"], "Check the path"),
        (
            ["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--set", f"clip_ac.temperature={DEEP}"],
            "deep",
        ),
        (
            ["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--set", "clip_ac.temperature=.inf"],
            "number",
        ),
        (["jobs", "list", "--workspace", LONG], "Check the path"),
        (["jobs", "run", "--download", "../x/y"], "No model of the hub can be called"),
        (["predict", LONG, "--category", "nut"], "Check the path"),
        (["results", "list", "--store", LONG], "There is no results folder"),
        (["datasets", "check", LONG], "Check the path"),
        (["import", "store", LONG], "There is no results folder"),
        (["export", "leaderboard", "--store", "{store}", "--out", "{file}/table.csv"], "Check the path"),
        (["train", "april_gan", "--data", LONG], "Check the path"),
        (["train", "april_gan", "--data", "bundled_a", "--out", "{file}"], "Name another --out"),
        (["train", "april_gan", "--data", "bundled_a", "--mosaic", "2"], "--mosaic is 2"),
        (["train", "april_gan", "--data", "bundled_a", "--seed", "-1"], "seed -1"),
        (["train", "april_gan", "--data", "bundled_a", "--epochs", "9" * 400], "invalid int value"),
        (["train", "anomaly_clip", "--data", "bundled_a", "--context-length", "99"], "--context-length is 99"),
        (["train", "april_gan", "--data", "bundled_a", "--lr", "nan"], "invalid float value"),
        (["train", "april_gan", "--data", "bundled_a", "--lr", "inf"], "invalid float value"),
        (["bench", "methods", "--images", "9" * 5000], "invalid int value"),
        (["bench", "methods", "--images", "1_0"], "invalid int value"),
        (["app", "--port", "70000"], "There is no port 70000"),
    ],
)
def test_hostile_words_end_with_a_sentence(words, said, capsys, tmp_path, monkeypatch, made_up_store):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    store = str(made_up_store(tmp_path / "store")) if "{store}" in words else ""
    given = [word.replace("{file}", str(tmp_path / "file")).replace("{store}", store) for word in words]
    assert main(given) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "defect; report it" not in told
    assert len(told) < 1500


def test_a_name_that_is_no_utf8_is_printed(monkeypatch, tmp_path):
    code = "from vlmad_core import cli; cli._mount = lambda *_: print('caf\\udce9'); cli.main(['methods'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.stdout == b"caf\\udce9\n"
