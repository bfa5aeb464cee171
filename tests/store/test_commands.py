from __future__ import annotations

from pathlib import Path

import pytest

from vlmad_core.store import commands
from vlmad_core.store.commands import COMMANDS_FOLDER, CommandRecord, SpentSeconds, read_commands, write_command
from vlmad_core.store.reader import open_store


def record(day: int, dataset: str = "widgets") -> CommandRecord:
    spent = (SpentSeconds("WinCLIP", "scoring", 1.5), SpentSeconds("the command", "writing", 0.5))
    return CommandRecord(
        "vlmad precompute", f"2026-01-{day:02d}T00:00:00+00:00", (dataset,), "a machine", 8, 2.125, spent
    )


def test_the_latest_comes_first_and_a_store_takes_no_notice(tmp_path: Path) -> None:
    for day in (2, 1, 3):
        write_command(tmp_path, record(day))
    assert read_commands([tmp_path, tmp_path / "not there"]) == (record(3), record(2), record(1))
    assert open_store(tmp_path).problems == ()


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MOST_KEPT", 2)
    for day in (1, 2, 3):
        write_command(tmp_path, record(day))
    assert read_commands([tmp_path]) == (record(3), record(2))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 1, "command": 3}', "\0"])
def test_a_damaged_record_costs_itself_only(tmp_path: Path, content: str) -> None:
    write_command(tmp_path, record(1))
    (tmp_path / COMMANDS_FOLDER / "2026-02-01.json").write_text(content)
    assert read_commands([tmp_path]) == (record(1),)
