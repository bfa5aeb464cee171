from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vlmad_core.prompts import (
    PromptError,
    Tuning,
    available_ensembles,
    ensemble_label,
    ensemble_of_label,
    list_ensembles,
    load_ensemble,
    parse_ensemble,
    save_ensemble,
    saved_names,
    tidy_name,
    to_yaml,
    tuning_warning,
)

MINE = replace(
    load_ensemble("states"),
    title='Mine: "quoted" # and {odd} <b>',
    abnormal_states=("cracked {}", "{} with a hole: big", "kaputte {} ✗"),
    tuned_on=(Tuning("widgets", ("bolt", "felt"), "by hand", "image_auroc"),),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path / "prompts"))
    return tmp_path / "prompts"


def test_saved_is_what_is_loaded(folder: Path) -> None:
    path = save_ensemble(MINE, "my_words")
    assert path == folder / "my_words.yaml"
    assert load_ensemble("my_words") == replace(MINE, name="my_words")
    assert load_ensemble(str(path)).content_hash == MINE.content_hash
    assert saved_names() == ("my_words",)
    assert [path.name for path in folder.iterdir()] == ["my_words.yaml"]
    with pytest.raises(PromptError, match="is an ensemble 'my_words' already"):
        save_ensemble(MINE, "my_words")
    changed = replace(MINE, templates=("{}",))
    save_ensemble(changed, "my_words", overwrite=True)
    assert load_ensemble("my_words").content_hash == changed.content_hash != MINE.content_hash
    path.unlink()
    with pytest.raises(PromptError, match="no prompt ensemble 'my_words'"):
        load_ensemble("my_words")


@pytest.mark.parametrize("name", list_ensembles())
def test_every_ensemble_survives_export_and_import(name: str) -> None:
    ensemble = load_ensemble(name)
    assert parse_ensemble(to_yaml(ensemble), name, "a file") == ensemble


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../up",
        "a/b",
        "a\\b",
        "/etc/passwd",
        ".hidden",
        "A",
        "a b",
        "a.yaml",
        "x" * 41,
        "a\n",
        "ä",
        "a-b",
        "\0",
    ],
)
def test_hostile_names_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(PromptError, match="can't be called"):
        save_ensemble(MINE, name)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["winclip", "canonical", "con"])
def test_names_of_the_program_are_kept(name: str) -> None:
    with pytest.raises(PromptError, match="belongs to the program"):
        save_ensemble(MINE, name)


def test_files_put_there_by_others_cost_nothing_else(folder: Path, tmp_path: Path) -> None:
    save_ensemble(MINE, "good")
    (folder / "broken.yaml").write_text("title: [")
    (folder / "winclip.yaml").write_text((folder / "good.yaml").read_text())
    (folder / "Has Spaces.yaml").write_text("x")
    (folder / "linked.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    by_name = {entry.name: entry for entry in available_ensembles()}
    assert set(by_name) == {*list_ensembles(), "good", "broken"}
    assert "can't be read" in (by_name["broken"].problem or "")
    assert by_name["broken"].ensemble is None
    assert by_name["good"].saved
    assert not by_name["winclip"].saved
    assert load_ensemble("winclip").title == "WinCLIP"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path / "file"))
    with pytest.raises(PromptError, match=r"Nothing was saved.*VLMAD_PROMPTS_DIR"):
        save_ensemble(MINE, "mine")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "just text",
        "title: x",
        "title: x\nnormal_states: flawless {}\nabnormal_states: ['a {}']\ntemplates: ['{}']",
        "title: x\nnormal_states: ['a {}']\nabnormal_states: ['<b>{}</b>']\ntemplates: ['{}']",
        "a: &a ['x {}']\ntitle: x\nnormal_states: *a\nabnormal_states: *a\ntemplates: *a",
        "title: x\nnormal_states: ['a {}']\nabnormal_states: ['b {}']\ntemplates: ['{}']\ntuned_on: [x]",
        "!!python/object/apply:os.system ['true']",
        "\x00",
        "[" * 100_000,
        "title: x\nnormal_states: ['a {}']\nabnormal_states: ['b {}']\ntemplates: ['{}']\ntuned_on: 3",
        "title: x\nnormal_states: [5]\nabnormal_states: ['b {}']\ntemplates: ['{}']",
        "? [title]\n: x",
        "title: x\n" + "#" * (1 << 20),
    ],
)
def test_hostile_files_are_refused_with_a_reason(content: str) -> None:
    with pytest.raises(PromptError, match=r"the upload|of the ensemble"):
        parse_ensemble(content, "x", "the upload")


def test_tidy_names() -> None:
    assert tidy_name("  Käse & <b>Wörter</b> ") == "k_se_b_w_rter_b"
    assert tidy_name("\N{GRINNING FACE}") == ""
    assert tidy_name("x" * 100) == "x" * 40


def test_being_judged_where_it_was_tuned_is_said() -> None:
    assert tuning_warning(MINE, ["widgets"], ["nut"]) is None
    assert tuning_warning(MINE, ["gadgets"], ["bolt"]) is None
    assert tuning_warning(load_ensemble("winclip"), ["widgets"], ["bolt"]) is None
    some = tuning_warning(MINE, ["widgets"], ["bolt", "nut"]) or ""
    assert "1 of the 2 categories" in some
    assert "by hand" in some
    assert "on all categories" in (tuning_warning(MINE, ["x", "widgets"], ["bolt", "felt"]) or "")


def test_a_label_means_these_words_and_no_others() -> None:
    assert (ensemble_label("winclip"), ensemble_of_label("winclip")) == ("winclip", "winclip")
    assert ensemble_of_label("absent") is None
    assert ensemble_of_label("absent-1234") is None
    save_ensemble(MINE, "mine")
    label = ensemble_label("mine")
    assert label == f"mine-{MINE.content_hash[:4]}"
    assert ensemble_of_label(label) == ensemble_of_label("mine") == "mine"
    save_ensemble(replace(MINE, templates=("{}",)), "mine", overwrite=True)
    assert ensemble_label("mine") != label
    with pytest.raises(PromptError, match="has other words than when"):
        ensemble_of_label(label)
