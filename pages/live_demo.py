from __future__ import annotations

import time
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from pages._shared import frame, live, live_cards, selection
from vlmad_core.datasets.images import read_image
from vlmad_core.errors import VlmadError

TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]
LONGEST_NAME = 60


def pick_example() -> tuple[Image.Image | None, str | None, str, str]:
    """An image of a data set on this machine: the image, its data set and category, and what is known of it."""
    names = live.example_sets()
    if not names:
        st.info("No data set is on this machine. Upload an image instead.", icon=":material/photo_library:")
        return None, None, "", ""
    left, right = st.columns(2)
    with left:
        dataset = selection.choose(
            "dataset", "Examples from", list(names), next(iter(names)), format_func=lambda n: names[n], slot="example"
        )
    listed = live.examples(dataset)
    with right:
        category = frame.choose_category(listed.categories)
    samples = listed.select(category, "test")
    if not samples:
        st.info(f"{category} has no test images.", icon=":material/photo_library:")
        return None, dataset, category, ""
    by_id = {sample.id: sample for sample in samples}
    first = live.showcase(samples, "")
    chosen = selection.current("image", list(by_id), first[min(1, len(first) - 1)].id)
    grid = st.grid("auto", min_column_width=84, gap="xsmall")
    for sample in live.showcase(samples, chosen):
        with grid.cell():
            picture = live.small(dataset, sample.id)
            if picture:
                st.image(picture, width="stretch", alt=f"Example: {category}, {sample.defect_type}")
            st.button(
                live.what_it_is(sample), key=f"use-{sample.id}",
                type="primary" if sample.id == chosen else "secondary", width="stretch",
                on_click=selection.remember, args=("image", sample.id),
            )  # fmt: skip
    sample = by_id[chosen]
    known = live.what_it_is(sample)
    return read_image(sample.image_path), dataset, category, f"The data set says: {known}."


def pick_upload() -> Image.Image | None:
    """An image of the visitor's own, or None with the reason said."""
    given = st.file_uploader("Image of a part", type=TYPES, key="upload", help="Up to 64 MB; nothing is kept.")
    if given is None:
        st.caption("JPEG, PNG, WebP, BMP or TIFF, up to 64 MB. It stays on this machine and is not kept.")
        return None
    try:
        return read_image(given.getvalue(), name=selection.tidy(given.name))
    except VlmadError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None


def read_references() -> list[Image.Image]:
    """Optional images of normal parts, for methods that use them."""
    with st.expander("Normal references (optional)", icon=":material/add_photo_alternate:"):
        st.caption(
            "One to four images of good parts. WinCLIP becomes WinCLIP+; methods without references ignore them."
        )
        given = st.file_uploader("Images of good parts", type=TYPES, accept_multiple_files=True, key="references")
        found = []
        for one in given[:4]:
            try:
                found.append(read_image(one.getvalue(), name=selection.tidy(one.name)))
            except VlmadError as error:
                st.error(str(error), icon=":material/broken_image:")
        if len(given) > 4:
            st.caption("Only the first four are used.")
    return found


frame.begin("live_demo")
try:
    info = live.backbone().info
except VlmadError as error:
    st.error(str(error), title="The backbone can't be loaded", icon=":material/error:")
    st.stop()
badge = " :orange-badge[:material/science: demonstration]" if info.demonstration else ""
st.markdown(
    f":gray[Judged live, on this machine's processor, by] **{selection.tidy(info.title)}**{badge} "
    f":gray[{info.image_size} px, {info.precision}, {info.parameters / 1e6:.1f} million weights]"
)
asked, shown = st.columns([5, 7], gap="large")
with asked:
    source = st.segmented_control(
        "Image", ["Example", "Upload"], default="Example", key="source", required=True, persist_state="session"
    )
    image, dataset, category, known = None, None, "", ""
    try:
        if source == "Example":
            image, dataset, category, known = pick_example()
        else:
            image = pick_upload()
    except VlmadError as error:
        st.error(str(error), icon=":material/broken_image:")
    words = st.text_input(
        "What is it? (in words, as prompts name it)", category.replace("_", " "), max_chars=LONGEST_NAME,
        placeholder="for example: metal nut", key=f"words-{source}-{category}",
    )  # fmt: skip
    titles = live.live_methods(info, dataset)
    methods = st.pills(
        "Methods", list(titles), selection_mode="multi", default=[m for m in live.FIRST_METHODS if m in titles],
        format_func=lambda m: titles[m], key="live_methods", wrap=True,
    )  # fmt: skip
    references = read_references()

with shown:
    name = selection.tidy(words.strip(), LONGEST_NAME).replace("?", " ").strip()
    if image is None:
        st.info(
            "Choose an example or upload an image, and the methods chosen judge it here.",
            icon=":material/photo_camera:",
        )
    elif not name:
        st.info("Say in a word or two what the part is: the prompts need it.", icon=":material/edit:")
    elif not methods:
        st.info("Choose at least one method.", icon=":material/checklist:")
    else:
        started = time.perf_counter()
        pixels = np.asarray(image)
        progress = st.progress(0.0, "Looking at the image …")
        cards = live_cards.Cards(pixels, name, info)
        trained: dict[str, Any] = {}
        try:
            trained = live.parameters_of(methods, info, dataset)
            tensors = {method: parameters for method, (parameters, _) in trained.items()}
            judged = live.judge(image, methods[: live.MOST_METHODS], name, references, tensors)
            for done, prediction in enumerate(judged, start=1):
                cards.add(prediction)
                progress.progress(done / len(methods), f"{done} of {len(methods)} methods")
        except VlmadError as error:
            st.error(str(error), icon=":material/error:")
        progress.empty()
        cards.finish(known, time.perf_counter() - started)
        for method, (_, sets) in trained.items():
            st.caption(f"{titles[method]}: parameters trained on {selection.tidy(', '.join(sets)) or 'unknown data'}.")
