from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.analysis.test_reported import damaged
from vlmad_core.analysis.claims import KIND_NAMES
from vlmad_core.analysis.literature import COST_LABELS, COST_UNITS, cost_claims, cost_points, load_efficiency
from vlmad_core.analysis.published import PublishedSet, published_sets
from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.sources import Source, bibtex, load_sources
from vlmad_core.cli import main
from vlmad_core.errors import StoreError
from vlmad_core.figures.efficiency import reported_cost_figure


def test_costs_are_of_known_kinds_and_none_is_there_twice() -> None:
    costs = load_efficiency()
    assert set(costs["metric"]) <= set(COST_UNITS) == set(COST_LABELS)
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


@pytest.fixture(scope="module")
def mvtec() -> PublishedSet:
    return published_sets(load_reported(), load_sources())["mvtec_ad@published"]


def test_reported_costs_are_claims_of_the_table_with_whose_they_are(mvtec: PublishedSet) -> None:
    costs, sources = load_efficiency(), load_sources()
    shown = cost_claims(costs, sources, "latency")
    every = cost_claims(costs, sources, "latency", second_hand=True)
    assert len(every) == (costs["metric"] == "latency").sum() > len(shown)
    assert not shown["whose"].isin([KIND_NAMES["digest"], KIND_NAMES["unclear"]]).any()
    least = list(dict.fromkeys(shown["name"]))
    assert list(shown.groupby("name")["value"].min()[least]) == sorted(shown.groupby("name")["value"].min())
    assert set(cost_claims(costs, sources, "latency", methods=["winclip"])["name"]) == {"WinCLIP", "WinCLIP+"}
    figure = reported_cost_figure(shown, "Latency")
    assert sum(len(trace.x) for trace in figure.data) == len(shown)
    assert {trace.name for trace in figure.data} == set(shown["hardware"])
    assert len({trace.marker.symbol for trace in figure.data}) == len(figure.data)


def test_costs_of_one_source_stand_beside_the_accuracy_that_stands(mvtec: PublishedSet) -> None:
    claims = cost_claims(load_efficiency(), load_sources(), "latency")
    points = cost_points(claims[claims["source"] == "gao2024metauas"], mvtec, "image_auroc")
    by_name = points.set_index("name")
    assert by_name.loc["WinCLIP", "value"] == 0.918
    assert by_name.loc["WinCLIP", "cost"] == 201.3
    assert {"PatchCore, 1 ref., 256 px", "PatchCore, 1 ref., 512 px"} <= set(points["name"])
    beaten = by_name.loc["AnomalyCLIP"]
    assert not beaten["front"] or beaten["value"] == points.loc[points["cost"] <= beaten["cost"], "value"].max()
    assert cost_points(claims.head(0), mvtec, "image_auroc").empty
