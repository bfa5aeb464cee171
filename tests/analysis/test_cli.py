from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlmad_core.cli import main
from vlmad_core.store.reader import open_store


@pytest.fixture
def store(tmp_path: Path, made_up_store) -> Path:
    return made_up_store(tmp_path / "store", unfinished=[("clip_ac", "felt")])


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    code = main(["results", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_list(store, capsys):
    code, value = ask(capsys, "list", "--store", store)
    assert code == 0
    assert [(r["method"], r["categories"], r["failed"]) for r in value["runs"]] == [
        ("clip_ac", ["bolt"], ["felt"]),
        ("winclip", ["bolt", "felt"], []),
    ]
    assert main(["results", "list", "--store", str(store)]) == 0
    assert "WinCLIP, 2 categories" in capsys.readouterr().out


def test_show(store, capsys):
    code, value = ask(capsys, "show", "winclip", "--store", store)
    assert code == 0
    assert set(value["units"]) == {"bolt", "felt"}
    assert {row["category"] for row in value["metrics"]} == {"bolt", "felt"}
    assert main(["results", "show", "clip_ac", "--store", str(store)]) == 0
    text = capsys.readouterr().out
    assert "failed felt: a made-up failure" in text
    assert "backbone.image_size = 64" in text


def test_verify_finds_what_was_changed(store, capsys):
    assert ask(capsys, "verify", "--store", store)[0] == 0
    file = open_store(store).runs[1].path / "bolt" / "metrics.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    code, value = ask(capsys, "verify", "--store", store)
    assert code == 1
    assert [p["path"] for p in value["problems"]] == [str(file)]


def test_diff(store, capsys):
    code, value = ask(capsys, "diff", "clip_ac", "winclip", "--store", store)
    assert code == 0
    assert value["rankable_together"] is True
    assert value["protocol"] == {"method.name": ["clip_ac", "winclip"]}
    assert any(row["metric"] == "image_auroc" for row in value["metrics"])
    same = ask(capsys, "diff", "winclip", "winclip", "--store", store)[1]
    assert (same["protocol"], same["metrics"]) == ({}, [])


def test_prune_shows_first_and_removes_what_is_not_needed(store, capsys):
    run = open_store(store).runs[1]
    (run.path / ".tmp-bolt-1-00000000").mkdir()
    (run.path / "bolt" / "grids.npz").unlink()
    unused = store / "widgets" / "thumbnails" / "bolt-ffffffff.parquet"
    unused.write_bytes(b"x")
    (store / "notes.txt").write_text("mine")
    shown = ask(capsys, "prune", "--store", store)[1]
    expected = {run.path / ".tmp-bolt-1-00000000", run.path / "bolt", unused}
    assert {Path(p) for p in shown["paths"]} == expected
    assert all(path.exists() for path in expected)
    assert ask(capsys, "prune", "--store", store, "--yes")[1]["removed"] is True
    assert not any(path.exists() for path in expected)
    assert (store / "notes.txt").exists()
    assert (store / "widgets" / "thumbnails" / "bolt-0000000c.parquet").exists()


def test_prune_waits_for_other_processes(store, capsys):
    from vlmad_core.io import held_locks, lock

    with lock(store, "a unit"):
        assert held_locks(store) == 1
        assert main(["results", "prune", "--store", str(store), "--run", "clip_ac", "--yes"]) == 1
        assert "Another process is writing" in capsys.readouterr().err
        assert len(open_store(store).runs) == 2
    assert held_locks(store) == 0


def test_prune_a_run(store, capsys):
    ask(capsys, "prune", "--store", store, "--run", "clip_ac", "--yes")
    assert [r.key.method for r in open_store(store).runs] == ["winclip"]


def test_wrong_use(store, tmp_path, capsys):
    assert main(["results", "list", "--store", str(tmp_path / "nowhere")]) == 1
    assert main(["results", "show", "canonical", "--store", str(store)]) == 1
    assert "several runs" in capsys.readouterr().err
    assert main(["results", "show", "x", "--store", str(store)]) == 1
    assert main(["results"]) == 1
