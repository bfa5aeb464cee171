"""Pictures of results."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vlmad_core.figures.matrices import patch_chart
from vlmad_core.figures.overlay import encode
from vlmad_core.live.drawing import (
    CONTOUR,
    RARITIES,
    Look,
    combined_figure,
    draw_boxes,
    draw_maps,
    fit,
    framed_crop,
    method_figure,
    png,
)
from vlmad_core.live.panel import LivePrediction, Normals
from vlmad_core.live.record import ImageResult, own_milliseconds, wide_table, without_maps
from vlmad_core.live.verdicts import give_opinion


@pytest.fixture
def opinions():
    values = np.zeros((256, 256), np.float32)
    values[40:80, 40:80] = 1.0
    seconds = {"vision": 1.0, "scoring": 0.002, "map": 0.001}
    with_map = LivePrediction(
        "winclip:canonical", "WinCLIP", 2, image_score=0.7, anomaly_map=values, seconds=seconds,
        normals=Normals((0.1, 0.2), (np.linspace(0, 0.5, 64 * 64, dtype=np.float32).reshape(64, 64),)),
    )  # fmt: skip
    without = LivePrediction("clip_ac:canonical", "CLIP-AC", 0, image_score=0.4)
    failed = LivePrediction("musc:canonical", "MuSc (transductive)", 0, error="needs all test images")
    return [give_opinion(with_map), give_opinion(without, own=0.5), give_opinion(failed)]


def cyan(pixels: np.ndarray) -> np.ndarray:
    return (pixels == np.array(CONTOUR)).all(axis=2)


def test_the_contour_surrounds_what_is_rarer_than_asked(opinions, part) -> None:
    image = part(0, side=256)
    drawn = draw_maps(image, opinions, Look(contour=RARITIES["1 in 100"]))
    assert list(drawn.maps) == ["winclip:canonical"]
    line = cyan(drawn.maps["winclip:canonical"])
    rows, columns = np.nonzero(line)
    assert 36 <= rows.min() <= 40
    assert 79 <= rows.max() <= 83
    assert columns.min() >= 36
    assert columns.max() <= 83
    assert not line[50:70, 50:70].any(), "the inside is left as it is"
    assert not cyan(draw_maps(image, opinions, Look(contour=None)).maps["winclip:canonical"]).any()


def test_opacity_zero_shows_the_image_in_grey(opinions, part) -> None:
    drawn = draw_maps(part(0, side=256), opinions, Look(opacity=0.0, contour=None))
    assert np.ptp(drawn.maps["winclip:canonical"].astype(int), axis=2).max() == 0


def test_figures_hold_a_tile_for_the_image_and_each_method(opinions, part) -> None:
    whole = combined_figure(part(0), opinions, Look(), "nut ねじ ≥ 1")
    assert whole.width == 4 * 360 + 3 * 14 + 2 * 18
    one = method_figure(part(0), opinions[0], Look())
    assert one.width < whole.width / 3
    with Image.open(io.BytesIO(png(one))) as read:
        assert read.format == "PNG"
        assert read.size == one.size


def test_very_long_images_fit(opinions) -> None:
    for size in ((16_384, 8), (8, 16_384)):
        image = Image.new("RGB", size, (90, 90, 90))
        assert max(fit(image).shape) <= 1024
        drawn = draw_maps(image, opinions, Look())
        boxed = draw_boxes(drawn.maps["winclip:canonical"], [(0.9, 0.9, 1.0, 1.0), (0.0, 0.0, 0.1, 0.1)])
        assert encode(boxed), "WebP takes 16,383 pixels along a side at most"
        assert max(framed_crop(image, (15, 15), (16, 16)).shape) <= 1024
        assert combined_figure(image, opinions, Look(), "").height < 1000


def test_boxes_and_crops_frame_the_place(part) -> None:
    plain = np.full((256, 256, 3), 90, np.uint8)
    framed = cyan(draw_boxes(plain, [(0.25, 0.5, 0.5, 0.75)]))
    rows, columns = np.nonzero(framed)
    assert (rows.min(), columns.min()) == (128, 64)
    assert (rows.max(), columns.max()) == (191, 127)
    for patch in ((0, 0), (3, 3), (1, 2)):
        crop = framed_crop(part(0), patch, (4, 4))
        assert min(crop.shape[:2]) >= 256
        assert cyan(crop).any()
    tiny = framed_crop(part(0, side=8), (15, 15), (16, 16))
    assert cyan(tiny).any()


def test_every_patch_can_be_clicked(part) -> None:
    chart = patch_chart(fit(part(0)), (3, 5), (2, 4)).to_dict()
    image, cells = chart["layer"]
    rows = chart["datasets"][cells["data"]["name"]]
    assert len(rows) == 15
    assert [row["place"] for row in rows if row["chosen"]] == ["row 3, column 5"]
    assert chart["datasets"][image["data"]["name"]][0]["url"].startswith("data:image/webp;base64,")
    assert [one["select"]["fields"] for one in chart["params"]] == [["row", "column"]]


def test_a_batch_becomes_one_row_per_image_without_maps(opinions) -> None:
    results = [ImageResult("a.png", (9, 9), "c", tuple(opinions)), ImageResult("b.png", error="empty")]
    titles = {one.prediction.method_id: one.prediction.title for one in opinions}
    frame = wide_table(results, titles)
    assert list(frame["Image"]) == ["b.png", "a.png"], "what could not be judged comes first"
    assert list(frame.index) == [1, 0]
    assert frame.loc[0, "Flagged by"] == 1
    assert frame.loc[0, "WinCLIP: threshold"] == opinions[0].verdict.threshold.value
    assert frame.loc[0, "WinCLIP: ms"] == own_milliseconds(opinions[0])
    assert frame.loc[0, "WinCLIP: verdict"] == "anomalous"
    assert frame.loc[0, "CLIP-AC: verdict"] == "normal"
    assert frame.loc[0, "Note"] == "needs all test images"
    assert np.isnan(frame.loc[1, "WinCLIP: score"])
    assert frame.loc[1, "Note"] == "empty"
    light = without_maps(results[0])
    assert light.opinions[0].prediction.anomaly_map is None
    assert light.opinions[0].prediction.normals.scores == (0.1, 0.2)
    assert light.opinions[0].verdict == opinions[0].verdict
    assert own_milliseconds(opinions[0]) == pytest.approx(3.0)
