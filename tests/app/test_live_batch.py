"""A batch in the live demo, in process: a table of all images, and a decision where folders say what is in them."""

from __future__ import annotations

import io
from zipfile import ZipFile

import numpy as np
from PIL import Image

from pages._live import batch, visit
from vlmad_core.live.inputs import gather
from vlmad_core.live.labels import without_masks


def picture(number: int = 0, size: tuple[int, int] = (96, 72)) -> bytes:
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def texts(app) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.info, app.error, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def visit_of(app) -> visit.Visit:
    return app.session_state["live"]


def test_a_batch_becomes_a_table_and_bad_images_cost_themselves_only(demo) -> None:
    app = demo.segmented_control(key="source").set_value("Batch").run()
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", picture(number))
        archive.writestr("half.png", picture()[:200])
        archive.writestr("../out.png", picture())
        archive.writestr("readme.txt", "no image")
    app.file_uploader(key="batch-False").upload("parts.zip", content.getvalue())
    app.text_input(key="words-Batch-").set_value("nut").run()
    assert "4 images, 1 files that are no images were left out." in texts(app)
    assert "leads out of the archive" in texts(app)
    app.button(key="batch_start").click().run()
    assert not app.exception
    shown = texts(app)
    assert "**4** images judged" in shown
    assert "**1** could not be read" in shown
    frame = app.dataframe[0].value
    assert list(frame["Image"]) == ["parts.zip/half.png", "parts.zip/0.png", "parts.zip/1.png", "parts.zip/2.png"]
    assert frame["CLIP-AC: score"].notna().sum() == 3
    assert "damaged or cut off" in frame["Note"].iloc[0]
    assert all(one.prediction.anomaly_map is None for r in visit_of(app).batch.results for one in r.opinions)


def test_a_batch_in_good_and_bad_folders_ends_in_a_decision(demo) -> None:
    """Cards above the table at one rule's thresholds; references and masks are no test images; mistakes first."""
    app = demo.segmented_control(key="source").set_value("Batch").run()
    app.segmented_control(key="references_from").set_value("Upload").run()
    for number in (1, 2):
        app.file_uploader(key="references").upload(f"good{number}.png", picture(number))
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for number in range(1, 8):
            archive.writestr(f"OK/{number}.png", picture(number))
        for number in range(20, 25):
            archive.writestr(f"NG/{number}.png", picture(number, (40, 40)))
        archive.writestr("ground_truth/20.png", picture(50))
    app.file_uploader(key="batch-False").upload("parts.zip", content.getvalue())
    app.text_input(key="words-Batch-").set_value("nut").run()
    app.button(key="batch_start").click().run()
    assert not app.exception
    shown = texts(app)
    assert "By their folders 5 are good and 5 defective" in shown
    assert "With 5 good photos no threshold can promise less than 16.7 % false alarms." in shown
    assert "5 flagged: at most" in shown
    frame = next(one.value for one in app.dataframe if "Flagged by" in one.value)
    assert len(frame) == 12
    assert set(frame["Part is"]) == {"good", "NG"}
    assert frame["CLIP-AC: threshold"].nunique() == 1
    wrong = [
        sum((row[f"{name}: verdict"] == "anomalous") == (row["Part is"] == "good") for name in ("CLIP-AC", "WinCLIP+"))
        for _, row in frame.iterrows()
    ]
    assert all(verdict in ("anomalous", "normal") for verdict in frame["CLIP-AC: verdict"])
    assert wrong[0] >= wrong[-1]
    labels = {one.proto.label for one in app.get("download_button")}
    assert {"Table (csv)", "Settings and scores (json)", "Report (html)"} <= labels
    given, mine = without_masks(gather([("parts.zip", content.getvalue())])), visit_of(app)
    report = batch._html(given, mine.panel[1], mine.batch.results, [0, 8], ["It is <so>."]).decode()
    assert "It is &lt;so&gt;." in report
    assert report.count('<section class="part">') == 2
    assert report.count('alt="WinCLIP+"') == 2


def test_a_cancelled_batch_goes_on_where_it_was(demo) -> None:
    app = demo.segmented_control(key="source").set_value("Batch").run()
    for number in range(3):
        app.file_uploader(key="batch-False").upload(f"{number}.png", picture(number))
    app.text_input(key="words-Batch-").set_value("nut").run()
    app.button(key="batch_start").click().run()
    mine = visit_of(app).batch
    first = mine.results[0]
    del mine.results[1:]
    app.run()
    assert "Cancelled: 1 of 3 images are done." in texts(app)
    app.button(key="batch_start").click().run()
    assert "**3** images judged" in texts(app)
    assert visit_of(app).batch.results[0] is first
