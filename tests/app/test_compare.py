"""Overview, leaderboard, transfer, efficiency, shots, methods and runs: what they say in each state of the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.store.benches import BENCH_FOLDER, keep_bench
from vlmad_core.store.commands import CommandRecord, SpentSeconds, write_command
from vlmad_core.store.schema import sealed

BUNDLED = Path(__file__).parents[2] / "results"
PAGES = ("overview", "leaderboard", "transfer", "efficiency", "shots", "methods", "runs")


def texts(app) -> str:
    """All texts of a page in one."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.warning, app.info, app.error, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def table(app, column: str):
    """The first table that has a column."""
    return next(frame.value for frame in app.dataframe if column in frame.value.columns)


@pytest.fixture(scope="module")
def one_damaged(quick_disk: None, made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which one run of three can't be read."""
    path = made_up_store(tmp_path_factory.mktemp("one_damaged"), methods=("clip_ac", "clip_cpe", "winclip"))
    broken = next(folder for folder in (path / "widgets").iterdir() if folder.name.startswith("clip_cpe"))
    (broken / "run.json").write_text("{ half a file")
    return path


@pytest.fixture(scope="module")
def transferred(quick_disk: None, made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets with a trained method on each: across, and once within."""
    path = made_up_store(
        tmp_path_factory.mktemp("transferred"), datasets=("widgets", "gadgets"), methods=("clip_cpe", "winclip")
    )
    for dataset, other in (("widgets", "gadgets"), ("gadgets", "widgets")):
        folder = next(f for f in (path / dataset).iterdir() if f.name.startswith("winclip"))
        _train(folder, other)
        if dataset == "widgets":
            inside = folder.with_name(f"{folder.name.rpartition('-')[0]}-{0:08x}")
            shutil.copytree(folder, inside)
            _train(inside, dataset)
    return path


def _train(folder: Path, on: str) -> None:
    """Write into a run's record that its method was trained, and let its units belong to it."""
    record = json.loads((folder / "run.json").read_text())
    record["provenance"]["data"]["trained"] = {"training_data": [on], "hash": on}
    record["protocol"]["method"]["parameters"] = on
    record["id"] = f"{folder.parent.name}/{folder.name}"
    (folder / "run.json").write_bytes(sealed(record))
    for mark in folder.glob("*/unit.json"):
        mark.write_bytes(sealed({**json.loads(mark.read_text()), "run_id": record["id"]}))


@pytest.mark.parametrize("page", PAGES)
def test_each_page_opens_on_the_bundled_results(open_app, page: str) -> None:
    app = open_app(BUNDLED, page)
    assert not app.exception
    assert not app.error
    assert "Bundled demonstration CLIP" in texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_one_damaged_run_costs_itself_and_is_said(open_app, one_damaged: Path, page: str) -> None:
    app = open_app(one_damaged, page)
    assert not app.exception
    shown = texts(app)
    assert "could not be read" in shown
    if page in ("overview", "leaderboard"):
        assert {"CLIP-AC", "WinCLIP"} == set(table(app, "name")["name"])


@pytest.mark.parametrize("page", PAGES)
def test_metrics_none_of_which_can_be_read_take_no_page(open_app, made_up_store, tmp_path: Path, page: str) -> None:
    store = made_up_store(tmp_path / "store", shots=(0, 2))
    for file in store.glob("*/*/*/metrics.parquet"):
        file.write_bytes(bytes(file.stat().st_size))
    app = open_app(store, page)
    assert not app.exception
    assert page in ("methods", "runs") or "No metric of these runs could be read" in texts(app)


def test_the_leaderboard_groups_and_names_contamination(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard", {"shots": "all"})
    board = table(app, "group")
    assert set(board["seen"]) == {"not recorded"}
    assert board[board["rank"].notna()]["group"].str.len().gt(0).all()
    assert "share a letter" in texts(app)


def test_parts_of_one_kind_narrow_the_leaderboard(open_app) -> None:
    app = open_app(BUNDLED, "leaderboard", {"parts": "texture"})
    every = open_app(BUNDLED, "leaderboard")
    assert table(app, "group")["n_categories"].max() < table(every, "group")["n_categories"].max()
    assert app.segmented_control(key="choose_parts").value == "texture"
    category = app.selectbox(key="choose_category")
    assert len(category.options) < len(every.selectbox(key="choose_category").options)


def test_a_draw_of_references_can_be_chosen(open_app, measured: Path) -> None:
    mean = table(open_app(measured, "leaderboard", {"shots": "2"}), "group").set_index("name")
    one = table(open_app(measured, "leaderboard", {"shots": "2", "seed": "1"}), "group").set_index("name")
    assert mean.loc["WinCLIP+, 2 ref.", "image_auroc"] != one.loc["WinCLIP+, 2 ref.", "image_auroc"]


@pytest.mark.parametrize(
    ("page", "name"),
    [("leaderboard", "seed"), ("efficiency", "cost"), ("runs", "run"), ("runs", "against"), ("methods", "method"),
     ("transfer", "method"), ("shots", "category"), ("overview", "dataset")],
)  # fmt: skip
def test_what_is_not_there_is_said_and_taken_out(open_app, transferred: Path, measured: Path, page, name) -> None:
    store = transferred if page == "transfer" else measured
    app = open_app(store, page, {name: "../../etc/passwd<b>"})
    assert not app.exception
    assert any(f"asks for {name}" in warning.value for warning in app.warning)
    assert app.query_params.get(name) != ["../../etc/passwd<b>"]
    assert "<b>" not in texts(app)


def test_hostile_values_of_the_leaderboards_own_parameters_fall_back(open_app, measured: Path) -> None:
    app = open_app(measured, "leaderboard", {"reported": "<script>", "published": "../../etc", "parts": "' or 1"})
    assert not app.exception
    assert "<script>" not in texts(app)
    assert any("asks for parts" in warning.value for warning in app.warning)


def test_transfer_shows_cells_within_and_across_and_how_to_fill_the_rest(open_app, transferred: Path) -> None:
    app = open_app(transferred, "transfer", {"method": "winclip"})
    assert not app.exception
    cells = table(app, "trained_on").set_index(["trained_on", "dataset"])
    assert cells.loc[("widgets", "widgets"), "seen"] == "yes"
    assert cells.loc[("gadgets", "widgets"), "seen"] == "not recorded"
    assert cells.loc[("gadgets", "gadgets"), "reason"] == "Not run yet."
    assert ("nothing", "widgets") in cells.index
    assert any("--dataset gadgets --method winclip" in code.value for code in app.code)


def test_transfer_without_trained_methods_says_how_to_train_one(open_app, measured: Path) -> None:
    app = open_app(measured, "transfer")
    assert any("train april_gan --data gadgets" in code.value for code in app.code)


def test_a_contaminated_line_stands_beside_the_clean_one(open_app, transferred: Path) -> None:
    app = open_app(transferred, "leaderboard", {"dataset": "widgets"})
    board = table(app, "group").set_index("name")
    assert board.loc["WinCLIP, trained on widgets", "seen"] == "yes"
    assert board.loc["WinCLIP", "seen"] == "not recorded"


def test_efficiency_shows_what_the_last_command_spent(open_app, measured: Path, tmp_path: Path) -> None:
    store = shutil.copytree(measured, tmp_path / "store")
    spent = (SpentSeconds("WinCLIP", "scoring", 6.0), SpentSeconds("the command", "writing", 1.0))
    write_command(store, CommandRecord("vlmad precompute", "2026-01-01", ("gadgets",), "a machine", 8, 8.0, spent))
    app = open_app(store, "efficiency", {"dataset": "gadgets"})
    assert table(app, "who")["seconds"].tolist() == [6.0, 1.0, 1.0]
    assert table(app, "who")["stage"].tolist() == ["scoring", "writing", "not told"]
    assert "8 s for 8 images" in texts(app)
    assert "last command" not in texts(open_app(store, "efficiency", {"dataset": "widgets"}))


def bench_report(machine: str, day: int) -> dict[str, Any]:
    row = {
        "method": "winclip", "preset": "canonical", "title": "WinCLIP", "shots": 0, "backbone": "bundled",
        "image_size": 224, "precision": "float32", "batch_1": {"median_ms": 12.5, "p95_ms": 14.0},
        "batch_n": {"batch": 8, "images_per_second": 90.0}, "peak_bytes": 2**30, "flops_per_image": 10**9,
    }  # fmt: skip
    return {
        "schema_version": 1, "command": "python -m vlmad_core bench methods --keep", "machine": machine, "threads": 2,
        "finished_at": f"2026-01-{day:02d}T10:00:00+00:00", "device": "cpu", "methods": [row],
    }  # fmt: skip


def test_efficiency_shows_benchmarks_of_this_machine_beside_stored_latencies(
    open_app, measured: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(measured, tmp_path / "store")
    assert "Stored latencies" not in texts(open_app(measured, "efficiency"))
    keep_bench(store, bench_report("An earlier machine", 1))
    keep_bench(store, bench_report("This machine", 2))
    (store / BENCH_FOLDER / "half.json").write_text("{")
    app = open_app(store, "efficiency")
    assert "This machine" in texts(app)
    assert "2026-01-02" in texts(app)
    assert any("half.json" in warning.value for warning in app.warning)
    shown = table(app, "stored_ms")
    assert (shown["name"].tolist(), shown["latency_ms"].tolist()) == (["WinCLIP"], [12.5])

    app.file_uploader(key="bench_upload").upload("card.json", json.dumps(bench_report("A card", 3)).encode()).run()
    assert "A card" in texts(app)
    chosen = next(box for box in app.selectbox if box.label == "Benchmark")
    assert chosen.value.startswith("given · 2026-01-03 10:00 · A card")
    app.file_uploader(key="bench_upload").upload("bad.json", b"[]").run()
    assert any("bad.json" in warning.value for warning in app.warning)
    assert not app.exception


def test_efficiency_names_machine_and_precision(open_app, measured: Path) -> None:
    app = open_app(measured, "efficiency", {"shots": "2"})
    shown = texts(app)
    assert "Measured on **made up**" in shown
    assert "**float32**" in shown
    assert "python -m vlmad_core bench methods" in shown
    assert set(table(app, "precision")["precision"]) == {"float32"}


def test_shots_show_the_spread_and_the_references(open_app, measured: Path) -> None:
    app = open_app(measured, "shots")
    values = table(app, "sd").set_index(["title", "shots"])
    assert values.loc[("WinCLIP+", 2), "n_seeds"] == 2
    assert values.loc[("WinCLIP+", 2), "sd"] > 0
    assert "not on this machine" in texts(app)
    bundled = open_app(BUNDLED, "shots")
    assert "not on this machine" not in texts(bundled)


def test_methods_that_know_images_only_are_marked(open_app, measured: Path) -> None:
    app = open_app(measured, "methods")
    glance = table(app, "vision_language").set_index("title")
    assert (glance["vision_language"] == "yes").any()
    marked = "vision only" in texts(app)
    assert marked == (glance["vision_language"] != "yes").any()


def test_a_link_to_a_run_opens_it(open_app, measured: Path) -> None:
    first = open_app(measured, "runs")
    ids = next(frame.value for frame in first.dataframe)
    assert len(ids) > 2
    run = next((measured / "widgets").glob("winclip-canonical-2shot-seed1*")).name
    app = open_app(measured, "runs", {"run": f"widgets/{run}"})
    assert "widgets · WinCLIP+ · 2 references · seed 1" in texts(app)


def test_the_overview_leads_on(open_app, measured: Path) -> None:
    app = open_app(measured, "overview")
    shown = texts(app)
    for question in ("tells defective parts", "shows where the defect is", "fastest", "fail", "Can I trust"):
        assert question in shown
    assert next(iter(table(app, "name").columns)) == "name"
    app.button(key="see-run").click().run()
    assert not app.exception
    assert app.title[0].value == "Runs"


def test_ranks_over_categories_are_drawn_when_their_part_is_opened(open_app) -> None:
    app = open_app(BUNDLED, "leaderboard", {"dataset": "bundled_a", "shots": "0"})
    assert "Friedman's test over" not in texts(app)
    app.session_state["ranks"] = True
    app.run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2
    assert texts(app).count("Friedman's test over 6 categories: p") == 2
