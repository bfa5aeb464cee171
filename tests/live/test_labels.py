"""Batches whose folders say what is in them: labels, scores of what is no reference, verdicts, and the report."""

from __future__ import annotations

import dataclasses

import pytest

from vlmad_core.analysis.decision import cards, choose
from vlmad_core.live.inputs import Given, Item
from vlmad_core.live.labels import Conclusion, folder_labels, judged_again, shared_scores, without_masks
from vlmad_core.live.members import choose_members
from vlmad_core.live.panel import LivePrediction, Panel
from vlmad_core.live.record import ImageResult, Judged, setup_of, wide_table
from vlmad_core.live.saved import batch_report
from vlmad_core.live.verdicts import give_opinion
from vlmad_core.metrics.rules import Promise
from vlmad_core.metrics.thresholds import user_threshold

TITLES = {"a:canonical": "A", "b:canonical": "B"}


def item(name: str) -> Item:
    return Item(name, lambda: pytest.fail("it need not be read"))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["good/1.png", "bad/1.png", "1.png"], ("good", "bad", None)),
        (["x.zip/lot 7/OK/1.png", "x.zip/lot 7/crack/1.png", "x.zip/1.png"], ("good", "crack", None)),
        (["nut/test/good/1.png", "nut/test/bent/1.png", "nut/train/good/2.png"], ("good", "bent", "good")),
        (["normal\\1.png", "defective\\dent\\1.png"], ("good", "dent")),
        (["good/1.png", "ground_truth/bad/1.png"], ("good", None)),
        (["crack/1.png", "dent/1.png"], (None, None)),
        (["bad/1.png"], (None,)),
    ],
)
def test_folders_say_what_is_in_them(names: list[str], labels: tuple[str | None, ...]) -> None:
    assert folder_labels([item(name) for name in names]) == labels


def test_masks_are_no_test_images_where_folders_are_labels() -> None:
    given = Given(tuple(item(name) for name in ("good/1.png", "bad/1.png", "ground_truth/1.png")), left_out=2)
    kept = without_masks(given)
    assert ([one.name for one in kept.items], kept.left_out) == (["good/1.png", "bad/1.png"], 3)
    plain = Given((item("masks/1.png"), item("1.png")))
    assert without_masks(plain) is plain


def result(number: int, scores: tuple[float | None, ...], content: str = "") -> ImageResult:
    opinions = tuple(
        give_opinion(LivePrediction(method, title, 2, image_score=score, error=None if score is not None else "broken"))
        for (method, title), score in zip(TITLES.items(), scores, strict=True)
    )
    return ImageResult(f"{number}.png", (9, 9), content or f"hash {number}", opinions)


def test_references_repeats_and_failures_are_left_out_of_the_test() -> None:
    results = [
        result(0, (0.1, 0.2), "a reference"),
        result(1, (0.1, 0.2)),
        result(2, (0.3, 0.1)),
        result(3, (0.9, None)),
        result(4, (0.8, 0.3)),
        result(5, (0.8, 0.3), "hash 4"),
        ImageResult("6.png", error="no image"),
        result(7, (0.5, 0.5)),
    ]
    labels = ("good", "good", "good", "dent", "dent", "dent", "dent", None)
    scored, methods = shared_scores(results, labels, TITLES, {"a reference"})
    assert methods == tuple(TITLES)
    assert (scored.ids, scored.labels.tolist()) == (("1.png", "2.png", "4.png"), [False, False, True])
    assert scored.scores.tolist() == [[0.1, 0.3, 0.8], [0.2, 0.1, 0.3]]
    nothing = [result(1, (0.1, None)), result(2, (0.5, None))]
    scored, methods = shared_scores(nothing, ("good", "dent"), TITLES)
    assert (methods, scored.names) == (("a:canonical",), ("A",))
    assert shared_scores([], (), TITLES) == (None, ())


def concluded(results: list[ImageResult], labels: tuple[str | None, ...], rate: float = 0.4) -> Conclusion:
    scored, methods = shared_scores(results, labels, TITLES)
    rule = Promise(rate)
    return Conclusion(scored, methods, cards(scored, rule, 50), choose(scored, rule, 50), rule)


def test_verdicts_follow_the_cards_and_mistakes_come_first() -> None:
    good = [result(number, (number / 10, 0.5)) for number in range(4)]
    bad = [result(10, (0.9, 0.4)), result(11, (0.05, 0.45))]
    labels = ("good",) * 4 + ("dent",) * 2
    found = concluded([*good, *bad], labels)
    again = judged_again([*good, *bad], found)
    assert [one["a"].verdict.anomalous for one in again] == [False] * 3 + [True, True, False]
    assert again[0]["a"].verdict.threshold == found.cards[0].threshold
    frame = wide_table(again, TITLES, labels)
    assert frame["Image"].tolist()[0] == "11.png"
    assert frame["Part is"].tolist()[0] == "dent"
    assert frame.index.tolist()[0] == 5
    own = dataclasses.replace(good[0], opinions=(give_opinion(good[0]["a"].prediction, own=-1.0), good[0]["b"]))
    assert judged_again([own], found)[0]["a"].verdict.threshold == user_threshold(-1.0)


def test_the_report_shows_the_pictured_images_with_their_maps(engine, picture) -> None:
    pictures = [picture(number, defect=number > 2) for number in range(6)]
    items = [Item(one.name, lambda one=one: one) for one in pictures]
    panel = Panel(engine, "nut", choose_members(["winclip"], engine.info, 0, None), ())
    results = [
        ImageResult(one.name, one.image.size, one.content, tuple(map(give_opinion, panel.judge(one))))
        for one in pictures
    ]
    light = [
        dataclasses.replace(
            one,
            opinions=tuple(
                dataclasses.replace(o, prediction=dataclasses.replace(o.prediction, anomaly_map=None))
                for o in one.opinions
            ),
        )
        for one in results
    ]
    judged = Judged(setup_of(panel), tuple(light))
    page = batch_report(judged, panel, items, [1, 4], ["Use <b>it</b>."])
    assert "Use &lt;b&gt;it&lt;/b&gt;." in page
    assert page.count('<section class="part">') == 2
    assert page.count('alt="WinCLIP"') == 2
    assert page.count("<td>part 0.png</td>") == 1
