"""Secrets stay where they were put: nothing the program writes or says holds one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.cli import main
from vlmad_core.engine.options import make_options
from vlmad_core.workspace import queue, worker
from vlmad_core.workspace.jobs import list_jobs

IN_FILE = {"cookie_secret": "planted-cookie-5b1f2c9d7e30468fa1b2", "client_secret": "planted-client-93c7d18e40ab"}
IN_ENVIRONMENT = {
    "STREAMLIT_SERVER_COOKIE_SECRET": "planted-server-4d90bb7fe216", "HF_TOKEN": "hf_plantedTokenAbc0123456789",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-0c55e1d8f7aa", "DB_PASSWORD": "planted-db-7741fe",
    "VLMAD_COOKIE_SECRET": "planted-misnamed-81ce",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a file of secrets, and an environment with more of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("VLMAD_OPERATORS", "ann@example.com")
    for name, value in IN_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".streamlit").mkdir()
    lines = [f'{name} = "{value}"' for name, value in IN_FILE.items()]
    (tmp_path / ".streamlit" / "secrets.toml").write_text("\n".join(["[auth]", *lines]))
    return tmp_path


def test_no_secret_is_in_anything_that_is_written_or_said(
    folder: Path, tiny_dataset: Callable[..., Path], tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny_dataset(folder / "widgets", categories=("bolt",), train=1, normal=2, defective=1)
    store = folder / "results"
    how = ["--backbone", str(tiny_clip), "--store", str(store), "--batch-size", "4", "--threads", "1", "--latency", "0"]
    plan = ["--dataset", str(data), "--method", "clip_ac", "winclip", "--shots", "0"]
    assert main(["precompute", *plan, *how]) == 0
    # A job that ends well, and one whose traceback is kept.
    for backbone in (tiny_clip, folder / "absent"):
        options = make_options({
            "datasets": [str(data)], "methods": ["clip_ac"], "backbone": str(backbone), "threads": 1,
            "store": str(folder / "jobs"), "batch_size": 4, "latency_images": 0,
        })  # fmt: skip
        queue.submit(folder / "workspace", options, "a job")
        worker.work(folder / "workspace")
    assert {job.state.stands for job in list_jobs(folder / "workspace")} == {"done", "failed"}
    for words in (
        ["jobs", "list"], ["doctor", "--offline", "--store", "results"], ["results", "verify", "--store", "results"],
        ["report", "--store", "results", "--out", "report.html"],
        ["export", "leaderboard", "--store", "results", "--out", "board.csv"],
    ):  # fmt: skip
        assert main(words) == 0 or words[0] == "doctor"
    told = capsys.readouterr()
    assert (folder / "report.html").is_file()
    assert (folder / "board.csv").is_file()
    planted = [*IN_FILE.values(), *IN_ENVIRONMENT.values()]
    assert [value for value in planted if value in told.out + told.err] == []
    written = [path for path in folder.rglob("*") if path.is_file() and path.name != "secrets.toml"]
    assert len(written) > 20
    found = [(path.name, value) for path in written for value in planted if value.encode() in path.read_bytes()]
    assert found == []
