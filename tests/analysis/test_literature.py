from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.analysis.test_reported import damaged
from vlmad_core.analysis.literature import COST_UNITS, load_efficiency
from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.sources import Source, bibtex, load_sources
from vlmad_core.cli import main
from vlmad_core.errors import StoreError


def test_costs_are_of_known_kinds_and_none_is_there_twice() -> None:
    costs = load_efficiency()
    assert set(costs["metric"]) <= set(COST_UNITS)
    keys = ["method", "variant", "shots", "metric", "hardware", "backbone", "image_size", "source", "location"]
    assert not costs.duplicated(keys).any()
    row = costs[(costs["source"] == "zhou2024anomalyclip") & (costs["metric"] == "throughput")]
    row = row[row["method"] == "WinCLIP"]
    assert row["value"].tolist() == [1.2]
    assert row["hardware"].tolist() == ["NVIDIA RTX 3090 24GB"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("value", "fast"), "a value that is no number"),
        (("unit", "s/image"), "a unit that its metric has not"),
        (("metric", "speed"), "an unknown metric"),
        (("source", ""), "no source"),
        (("location", ""), "no location in its source"),
    ],
)
def test_a_damaged_table_of_costs_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(StoreError, match=rf"efficiency\.csv, line 9, has {message}"):
        load_efficiency(damaged(tmp_path, "efficiency.csv", change))


def test_the_command_checks_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reported", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == len(load_reported())
    assert found["sources"] == len(load_sources())
    assert found["unused"] == []
    folder = damaged(tmp_path, "results.csv", ("location", ""))
    assert main(["reported", "check", "--folder", str(folder)]) == 1
    assert "line 9, has no location in its source" in capsys.readouterr().err


def test_a_source_is_cited_with_what_is_known_of_it_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reported", "cite", "jeong2023winclip"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("@misc{jeong2023winclip,\n  title = {{WinCLIP: ")
    assert "author = {Jongheon Jeong and Yang Zou and " in text
    assert "eprint = {2303.14814}" in text
    assert "doi" not in text
    assert main(["reported", "cite", "hearsay"]) == 1
    assert "There is no source 'hearsay'" in capsys.readouterr().err


def test_every_source_makes_an_entry_of_its_own_fields() -> None:
    for key, source in load_sources().items():
        text = bibtex(source)
        assert text.count("{") == text.count("}")
        assert text.startswith(f"@misc{{{key},\n")
        assert not re.search(r"= \{(None|nan)?\},", text), key
        for name, value in (("year", source.year), ("doi", source.doi), ("eprint", source.arxiv)):
            assert (f"  {name} = {{" in text) == bool(value)


def test_signs_that_mean_something_to_latex_are_escaped() -> None:
    source = Source("a", "Parts & 100 % of_it", (), None, None, None, "", "")
    assert r"{{Parts \& 100 \% of\_it}}" in bibtex(source)
