from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.cli import main
from vlmad_core.store.reader import open_store

pytestmark = [
    pytest.mark.usefixtures("quick_disk"),
    pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere"),
]


def test_a_name_that_is_no_utf_8_is_checked_measured_and_exported(
    tmp_path: Path, tiny_clip: Path, tiny_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It has one written form everywhere: the byte in hexadecimal."""
    data = tiny_dataset(tmp_path / os.fsdecode(b"widgets \xff"), categories=("bolt",))
    bolt = data / "bolt"
    (bolt / "test" / "stain").rename(bolt / "test" / os.fsdecode(b"tache \xe0"))
    (bolt / "ground_truth" / "stain").rename(bolt / "ground_truth" / os.fsdecode(b"tache \xe0"))
    (bolt / "test" / "good" / os.fsdecode(b"\xe9.png")).write_bytes(b"no image")
    (bolt / "test" / "good" / os.fsdecode(b"note \xe9.txt")).write_bytes(b"")
    assert main(["datasets", "check", str(data)]) == 1
    said = capsys.readouterr().out
    assert "bolt/test/good/%E9.png: not an image that can be read; found a text file" in said
    assert "note %E9.txt: no image by its ending" in said

    store = tmp_path / "store"
    words = ["--dataset", str(data), "--method", "winclip", "--backbone", str(tiny_clip), "--store", str(store)]
    assert main(["precompute", *words, "--latency", "0", "--log", str(tmp_path / "log")]) == 2
    assert "%E9.png: not an image" in (tmp_path / "log").read_text("utf-8")
    (run,) = open_store(store).runs
    images = open_store(store).images(run.id, "bolt").set_index("image_id")
    assert "found a text file" in images.loc["bolt/test/good/%E9.png", "error"]
    assert images.loc["bolt/test/tache %E0/000.png", "score"] > 0
    assert main(["export", "maps", run.id, "--store", str(store), "--out", str(tmp_path / "maps"), "--size", "32"]) == 0
    assert (tmp_path / "maps" / "bolt" / "test" / "tache %E0" / "000.tiff").is_file()
    assert "bolt/test/tache %E0/000.png,bolt,tache %E0,1," in (tmp_path / "maps" / "scores.csv").read_text("utf-8")
