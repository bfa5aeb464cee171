"""The answers follow from what was measured: change the results, and they change."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from vlmad_core.analysis.study.answers import StudyAnswer, answers, as_json, commands_for
from vlmad_core.analysis.study.findings import findings_table
from vlmad_core.analysis.study.plan import study_plan
from vlmad_core.cli import COMMANDS, Parser, _mount
from vlmad_core.figures.variants import finding_figure


def everything(made_up: Any, **means: float) -> list[Any]:
    """All variants of the plan at .70, but for those given."""
    plan = study_plan()
    found = {}
    # Several variants may be one run, such as patches and the full ensemble; one that is given decides.
    for variant in sorted(plan.variants.values(), key=lambda variant: variant.name in means):
        mean = means.get(variant.name, 0.70)
        trained = ("parts",) if variant.trained else ("others",) if variant.method in TRAINED else ()
        key = (variant.method, variant.stored_preset, variant.shots, trained)
        found[key] = made_up(variant.method, mean, variant.stored_preset, variant.shots, trained=trained)
    for method in ("winclip", "april_gan", "patch_memory"):
        for shots in (1, 2, 4, 8):
            trained = ("others",) if method in TRAINED else ()
            mean = means.get(f"{method}_{shots}", 0.70)
            found[method, "canonical", shots, trained] = made_up(method, mean, "canonical", shots, 3, trained=trained)
    return list(found.values())


TRAINED = ("april_gan", "anomaly_clip")


def ask(results: Any, competitors: list[Any], question: str) -> StudyAnswer:
    (answer,) = (one for one in answers(*results(competitors)) if one.question.name == question)
    return answer


def test_six_questions_each_with_an_answer(results: Any, made_up: Any) -> None:
    found = answers(*results(everything(made_up)))
    assert [one.question.name for one in found] == ["features", "alignment", "prompts", "shots", "cost", "transfer"]
    for one in found:
        assert all(finding.answered for finding in one.findings), one.question.name
        assert all(finding.images == 360 for finding in one.findings)
    json.dumps(as_json({"parts": found}), allow_nan=False)


@pytest.mark.parametrize(
    ("question", "means", "words"),
    [
        ("features", {"winclip": 0.8}, "WinCLIP (both windows and the whole image) beats patches"),
        ("features", {"windows_2": 0.8}, "windows 2 x 2 beats patches"),
        ("features", {"patches": 0.8}, "all others fall behind patches"),
        ("alignment", {"april_gan": 0.8}, "trained projections (APRIL-GAN) beats patches"),
        ("alignment", {"anomaly_clip": 0.8}, "learned prompts (AnomalyCLIP) beats patches"),
        ("prompts", {"full_ensemble": 0.8}, "states in templates beats one pair"),
        ("prompts", {"one_pair": 0.8}, "all others fall behind one pair"),
        ("shots", {"winclip_8": 0.85}, "from 0 to 8 references, they bring accuracy"),
        ("shots", {"winclip_8": 0.55}, "from 0 to 8 references, they cost accuracy"),
        ("transfer", {"april_gan": 0.8}, "trained projections (APRIL-GAN) beats patches"),
    ],
)
def test_the_headline_follows_the_truth(
    results: Any, made_up: Any, question: str, means: dict[str, float], words: str
) -> None:
    (finding, *_) = ask(results, everything(made_up, **means), question).answered
    assert finding.on_others.startswith(f"On other parts: {words}")
    if finding.metric == "image_auroc":
        assert finding.on_these.startswith(f"On these parts: {words}")
    else:  # neither replicates nor maps are kept
        assert finding.on_these.startswith("On these parts: not tested (")


def test_a_gain_within_the_data_set_is_called_contaminated(results: Any, made_up: Any) -> None:
    transfer = ask(results, everything(made_up, april_within=0.9), "transfer")
    (finding,) = (one for one in transfer.findings if one.name == "projections")
    assert finding.short[0].startswith("No fair gain: projections trained on the same data set")


def test_what_was_not_run_is_not_answered(results: Any, made_up: Any) -> None:
    few = [one for one in everything(made_up) if one.preset == "templates"]
    for one in answers(*results(few)):
        assert one.headline.startswith("Not answered"), one.question.name


def test_methods_that_keep_replicates_are_compared_over_images_where_ablations_are_not(
    results: Any, made_up: Any
) -> None:
    store, one = results(everything(made_up, winclip=0.8, april_gan=0.8))
    store.pixels_of = "-canonical-"
    features, alignment, *_, transfer = answers(store, one)
    assert features.findings[0].on_these.startswith("On these parts: WinCLIP (both windows and the whole image) beats")
    assert features.findings[0].on_these.endswith(
        "; not compared: 5 others, windows 2 x 2: it keeps neither replicates nor maps."
    )
    for answer in (alignment, transfer):
        assert "over 360 images" in answer.findings[0].on_these
        assert "not compared" not in answer.findings[0].on_these


def test_the_part_that_is_compared_under_both_designs_speaks_for_its_question(results: Any, made_up: Any) -> None:
    """Pixel metrics of ablations keep no replicates: what is said at first sight is the part that can be told."""
    store, one = results(everything(made_up))
    features, alignment, *_, transfer = answers(store, one)
    assert [answer.findings[0].whole for answer in (features, alignment, transfer)] == [False] * 3
    assert (features.first.name, alignment.first.name) == ("whole_image", "language_image")
    assert transfer.first.name == transfer.findings[0].name  # none can: the first
    store.pixels_of = "-canonical-"
    features, alignment, *_, transfer = answers(store, one)
    assert features.first.name == "whole_image"  # of the first part, five of seven have no replicates
    assert (alignment.first.name, transfer.first.name) == ("zero_shot", "across")
    assert features.short == features.first.short


def test_commands_for_what_is_missing_are_understood(results: Any, made_up: Any) -> None:
    store, one = results([made_up("clip_ac", 0.7)])
    found = answers(store, one)
    commands = commands_for(one, found)
    assert commands[-1] == "python -m vlmad_core study --dataset parts --backbone made_up"
    assert {words.split()[4] for words in commands[:-1]} == {"april_gan", "anomaly_clip"}
    for command in commands:
        *python, name, more = *shlex.split(command)[:4], shlex.split(command)[4:]
        assert python == ["python", "-m", "vlmad_core"]
        parser = Parser()
        _mount(parser, COMMANDS, [name, *more], "python -m vlmad_core")
        assert parser.parse_args([name, *more]).backbone == "made_up"
    everything_there = results(everything(made_up))
    assert commands_for(everything_there[1], answers(*everything_there)) == ()


def test_latencies_of_two_machines_are_not_compared(results: Any, made_up: Any) -> None:
    mixed = [made_up("clip_ac", 0.7, machine="a"), made_up("winclip", 0.8, machine="b")]
    assert "several machines" in ask(results, mixed, "cost").headline


def test_papers_stand_beside_and_are_never_mixed_in(results: Any, made_up: Any) -> None:
    alignment = ask(results, everything(made_up), "alignment")
    assert set(alignment.papers["dataset"]) == {"mvtec_ad", "visa"}
    assert alignment.papers["citation"].str.len().gt(0).all()
    runs = {run for finding in alignment.findings for entry in finding.figures for run in entry.run_ids}
    assert all(run.startswith("parts/") for run in runs)


def test_every_finding_has_a_figure_with_its_values(results: Any, made_up: Any) -> None:
    for one in answers(*results(everything(made_up))):
        for finding in one.findings:
            figure = finding_figure(findings_table([finding]), finding.metric, finding.kind)
            assert figure is not None, finding.name
            places = [value for trace in figure.data for value in (*trace.x, *trace.y)]
            shown = {round(float(value), 6) for value in places if isinstance(value, int | float)}
            drawn = [entry for entry in finding.figures if finding.kind != "spread" or entry.x == entry.x]
            assert {round(entry.estimate.value, 6) for entry in drawn} <= shown, finding.name
