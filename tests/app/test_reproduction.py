from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

SCRIPT = """
import runpy
import streamlit as st
from pages._ui import take_along
st.session_state["notices"] = st.container()
take_along.begin(st.container(), "reproduction")
runpy.run_path({page!r})
"""
PAGE = Path(__file__).parents[2] / "pages" / "reproduction.py"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AppTest]:
    def start(store: Path | None = None) -> AppTest:
        monkeypatch.setenv("VLMAD_STORE", str(store or tmp_path / "nothing"))
        return AppTest.from_string(SCRIPT.format(page=str(PAGE)), default_timeout=60).run()

    return start


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader])


def test_without_own_results_the_page_says_how_to_get_them(page: Callable[..., AppTest]) -> None:
    app = page()
    assert not app.exception
    assert "has not measured MVTec AD here yet" in app.info[0].value
    assert "precompute --dataset mvtec_ad" in app.code[0].value
    told = texts(app)
    for number in ("91.8", "90.4", "90.0", "70.2", "61.2"):
        assert f"**{number}**" in told
    assert told.count("**Established by experiment**") == 1
    table = app.dataframe[0].value
    row = table[(table["method"] == "WinCLIP") & table["label"].str.startswith("Kakda")].iloc[0]
    assert row["difference"] == "-30.6"


def test_another_data_set_metric_and_number_of_references(page: Callable[..., AppTest]) -> None:
    app = page()
    app.query_params["dataset"] = "visa@published"
    app.run()
    assert "VisA" in app.info[0].value
    app.selectbox[0].set_value("aupro_reported").run()
    assert not app.exception
    table = app.dataframe[0].value
    assert set(table["method"]) >= {"WinCLIP", "APRIL-GAN", "AnomalyCLIP"}
    app.segmented_control[0].set_value("4").run()
    assert not app.exception
    assert "WinCLIP+" in set(app.dataframe[0].value["method"])


def test_own_results_stand_beside_the_papers(
    page: Callable[..., AppTest], tmp_path: Path, made_up_store: Callable[..., Path]
) -> None:
    import json

    from vlmad_core.store.schema import sealed

    store = made_up_store(
        tmp_path / "store", datasets=("mvtec",), categories=("bottle",), images=6, methods=("winclip",)
    )
    for file in store.glob("*/*/run.json"):
        record = json.loads(file.read_text())
        record["provenance"]["data"]["official"] = "mvtec_ad"
        file.write_bytes(sealed(record))
    app = page(store)
    assert not app.exception
    assert not app.info
    table = app.dataframe[0].value
    row = table[table["who"] == "this program"].iloc[0]
    assert "1 of 15 categories" in row["protocol"]
    assert row["difference"]
    app.selectbox[0].set_value("visa").run()  # beside a measured set, the page has a chooser of its own
    assert not app.exception
    assert "this program" not in set(app.dataframe[0].value["who"])


def test_second_hand_numbers_are_shown_when_asked_for_and_where_there_is_nothing_else(
    page: Callable[..., AppTest],
) -> None:
    app = page()
    before = app.dataframe[0].value
    assert not before["variant"].str.contains("listed by PSMP-CLIP").any()
    app.toggle[0].set_value(True).run()
    assert not app.exception
    after = app.dataframe[0].value
    assert after["variant"].str.contains("listed by PSMP-CLIP").any()
    app.toggle[0].set_value(False).run()
    app.query_params["dataset"] = "brain_ad@published"
    app.run()
    assert not app.exception
    assert len(app.dataframe[0].value) > 0


def test_contradictions_and_sources_to_cite(page: Callable[..., AppTest]) -> None:
    app = page()
    overview = next(one.value for one in app.dataframe if {"low", "high", "spread"} <= set(one.value.columns))
    row = overview[(overview["method"] == "AA-CLIP") & (overview["title"] == "VisA")].iloc[0]
    assert (round(row["low"], 1), round(row["high"], 1)) == (46.2, 84.6)
    claims = next(one.value for one in app.dataframe if "training_data" in one.value.columns)
    assert len(claims) == row["claims"]
    assert claims["whose"].str.contains("whose run is not said").any()
    cited = [code.value for code in app.code if code.value.startswith("@misc{")]
    assert any("@misc{jeong2023winclip," in text for text in cited)
    assert any("@misc{ma2025aaclip," in text for text in cited)
