from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.errors import StoreError
from vlmad_core.store.benches import BENCH_FOLDER, keep_bench, parse_bench, read_benches


def report(day: int, **changes: Any) -> dict[str, Any]:
    row = {
        "method": "winclip", "preset": "canonical", "title": "WinCLIP", "shots": 0, "backbone": "bundled",
        "image_size": 224, "precision": "float32", "batch_1": {"median_ms": 12.5, "p95_ms": 14.0, "images": 20},
        "batch_n": {"batch": 8, "images_per_second": 90.0, "seconds": 0.09}, "peak_bytes": 2**30,
        "flops_per_image": 10**9, "peak_share": 0.5, "plain_share": 0.9, "stages_ms": {"vision": 3.0},
    }  # fmt: skip
    values = {
        "schema_version": 1, "command": "python -m vlmad_core bench methods", "finished_at": f"2026-01-0{day}T00:00:00",
        "machine": "a machine", "device": "cpu", "threads": 2, "hardware": {"cores": 2},
    }  # fmt: skip
    return {**values, "methods": [row], **changes}


def test_what_was_measured_is_kept_and_read_the_latest_first(tmp_path: Path) -> None:
    for day in (1, 3, 2):
        keep_bench(tmp_path, report(day))
    records, problems = read_benches([tmp_path / "not there", tmp_path])
    assert [record.finished_at[:10] for record in records] == ["2026-01-03", "2026-01-02", "2026-01-01"]
    assert problems == ()
    row = records[0].methods[0]
    assert row.batch_1 is not None
    assert (row.batch_1.median_ms, row.batch_n.images_per_second, row.plain_share) == (12.5, 90.0, 0.9)


def test_what_can_not_be_read_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    keep_bench(tmp_path, report(1))
    (tmp_path / BENCH_FOLDER / "half.json").write_text('{"schema_version": 1,')
    (tmp_path / BENCH_FOLDER / "newer.json").write_text(json.dumps(report(2, schema_version=99)))
    (tmp_path / BENCH_FOLDER / "wrong.json").write_text(json.dumps(report(2, threads="two")))
    records, problems = read_benches([tmp_path])
    assert len(records) == 1
    assert len(problems) == 3
    assert any("half.json" in problem for problem in problems)
    assert any("newer version" in problem for problem in problems)
    assert any("threads is 'two' where a whole number belongs" in problem for problem in problems)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[1, 2]", "no json object"), (b'{"schema_version": 1}', "command is missing"), (b"\xff", "can't be read"),
     (b'{"schema_version": 1, "threads": 1e999}', "beyond what can be")],
)  # fmt: skip
def test_a_file_that_is_something_else_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(StoreError, match=f"mine.json.*{said}.*bench methods --json"):
        parse_bench(content, "mine.json")


def test_a_method_that_judges_sets_or_fits_nowhere_has_blanks() -> None:
    made = report(1)
    made["methods"][0] |= {"batch_1": None, "batch_n": {"batch": 1, "images_per_second": None}}
    row = parse_bench(json.dumps(made).encode(), "mine.json").methods[0]
    assert row.batch_1 is None
    assert row.batch_n.images_per_second is None
