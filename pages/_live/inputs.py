"""What a visitor gives: an image or many, references, the part's name, methods, backbone and precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._live import visit
from pages._ui import frame, machine, selection
from vlmad_core import paths
from vlmad_core.cards import first_choices
from vlmad_core.datasets.catalogue import category_words
from vlmad_core.datasets.images import DEFAULT_LIMITS
from vlmad_core.errors import VlmadError
from vlmad_core.paths import live_folder

if TYPE_CHECKING:
    from vlmad_core.backbones import BackboneInfo
    from vlmad_core.live.inputs import Given, Picture
    from vlmad_core.live.remote import RemoteEngine

SOURCES = {"Example": "Data set", "Upload": "Upload", "Camera": "Camera", "Batch": "Batch"}
TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]
MEGABYTES = DEFAULT_LIMITS.max_bytes // 2**20
FORMATS = f"JPEG, PNG, WebP, BMP or TIFF, up to {MEGABYTES} MB. It stays on this machine and is not kept."
NOTHING_KEPT = "They stay on this machine and are not kept."
FEATURES_KEPT = (
    "The images stay on this machine and are not kept. What the backbone computed from them is, on its disk, "
    "so that the next start is quick; `VLMAD_CACHE_DIR=none` keeps nothing."
)
SHOTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Asked:
    """What was given to be judged.

    Attributes:
        source: One of ``SOURCES``.
        picture: The image, or None.
        given: The images of a batch, or None.
        dataset: The data set the image comes from, or None.
        category: Its category there; empty for images of the user's own.
        known: What the data set says of it; empty if nothing.
    """

    source: str
    picture: Picture | None = None
    given: Given | None = None
    dataset: str | None = None
    category: str = ""
    known: str = ""


def choose_image() -> Asked:
    """Where the image comes from, and the image."""
    source = st.segmented_control(
        "Image", list(SOURCES), default="Example", key="source", required=True, persist_state="session",
        format_func=SOURCES.__getitem__,
    )  # fmt: skip
    try:
        if source == "Upload":
            return Asked(
                "Upload",
                picture=_uploaded(
                    st.file_uploader("Image of a part", type=TYPES, key="upload", max_upload_size=MEGABYTES)
                ),
            )
        if source == "Camera":
            return Asked("Camera", picture=_uploaded(st.camera_input("Photograph a part", key="camera")))
        if source == "Batch":
            return Asked("Batch", given=_many())
        return _example()
    except VlmadError as error:
        complain(error)
        return Asked(str(source))


def complain(error: VlmadError) -> None:
    """Say what is wrong at its place; names of files may hold anything."""
    st.error(selection.tidy(str(error), 400), icon=":material/broken_image:")


def choose_words(asked: Asked) -> str:
    """The part's name in words; empty, with the reason said, if it can't be used."""
    default = category_words(asked.category) if asked.category else ""
    text = st.text_input(
        "What is it? (in words, as prompts name it)", default, max_chars=DEFAULT_LIMITS.max_words,
        placeholder="for example: metal nut", key=f"words-{asked.source}-{asked.category}",
    )  # fmt: skip
    if not text.strip():
        return ""
    try:
        return category_words(text)
    except VlmadError as error:
        complain(error)
        return ""


def choose_methods(info: BackboneInfo, shots: int, dataset: str | None) -> list[str]:
    """One to six methods; those that can't judge a single image here are named with the reason."""
    choices = visit.methods(info, f"{info.weights_hash}-{info.precision}", shots, dataset)
    titles = {one.id: one.title for one in choices if one.available}
    if "live_methods" not in st.session_state:
        st.session_state["live_methods"] = [name for name in first_choices() if name in titles]
    st.session_state["live_methods"] = [name for name in st.session_state["live_methods"] if name in titles]
    picked = st.pills(
        f"Methods (up to {DEFAULT_LIMITS.max_methods})", list(titles), selection_mode="multi",
        format_func=titles.__getitem__, key="live_methods", wrap=True,
    )  # fmt: skip
    missing = [one for one in choices if not one.available]
    if missing:
        with st.popover(f"{len(missing)} not available here", icon=":material/block:", type="tertiary"):
            for one in missing:
                st.markdown(f"**{selection.tidy(one.title)}**: {selection.tidy(one.reason, 300)}")
    if len(picked) > DEFAULT_LIMITS.max_methods:
        st.warning(f"Only the first {DEFAULT_LIMITS.max_methods} methods are used.", icon=":material/checklist:")
    return picked[: DEFAULT_LIMITS.max_methods]


def choose_references(asked: Asked) -> tuple[Picture, ...]:
    """Images of good parts: from a data set or uploaded."""
    # Its state is kept by the server: what only the browser knows is lost where the parts of the page above change.
    with st.expander(
        "Normal references (optional)", icon=":material/add_photo_alternate:", key="references_part", on_change="rerun"
    ):
        st.caption(
            "Images of good parts. WinCLIP and AprilLab then compare with them as well, memories need them, and all "
            "methods get a threshold from them."
        )
        kind = st.segmented_control(
            "From", ["None", "Data set", "Upload"], default="None", required=True, key="references_from",
            persist_state="session", label_visibility="collapsed",
        )  # fmt: skip
        try:
            if kind == "Upload":
                given = st.file_uploader(
                    "Images of good parts",
                    type=TYPES,
                    accept_multiple_files=True,
                    key="references",
                    max_upload_size=MEGABYTES,
                )
                st.caption(NOTHING_KEPT if live_folder() is None else FEATURES_KEPT)
                return _references([(_name(one), one.getvalue()) for one in given])
            return _drawn(asked) if kind == "Data set" else ()
        except VlmadError as error:
            complain(error)
            return ()


def choose_engine() -> RemoteEngine:
    """Backbone, device and precision, as far as there is a choice; what is not available says why.

    Returns:
        The engine.

    Raises:
        VlmadError: If the backbone can't be loaded.
    """
    from vlmad_core.backbones.info import ASKED_PRECISIONS

    choices, (devices, precisions) = (
        machine.backbones(paths.named_backbone()),
        machine.offers("auto", machine.visitor()),
    )
    titles = {one.id: one.title for one in choices if one.available}
    with st.popover("Backbone", icon=":material/memory:"):
        backbone = st.selectbox(
            "Backbone", list(titles), format_func=titles.__getitem__, key="live_backbone", persist_state="session"
        )
        device = "auto"
        if len(devices) > 2:  # more than "auto" and the CPU it then means
            device = st.segmented_control(
                "Device", devices, default="auto", required=True, key="live_device", persist_state="session"
            )
        if device != "auto":
            _, precisions = machine.offers(device, machine.visitor())
        offered = [name for name in ASKED_PRECISIONS if any(one.id == name and one.available for one in precisions)]
        if st.session_state.get("live_precision") not in offered:  # of another device
            st.session_state.pop("live_precision", None)
        precision = st.segmented_control(
            "Precision", offered, default="float32", required=True, key="live_precision", persist_state="session"
        )
        for one in (*precisions, *choices):
            if not one.available:
                st.caption(f"**{selection.tidy(one.title)}**: {selection.tidy(one.reason, 200)}")
        if not paths.named_backbone():
            st.caption("A folder with a model of your own: start the dashboard with VLMAD_BACKBONE=FOLDER.")
    return machine.engine(backbone or next(iter(titles)), precision, device)


def _example() -> Asked:
    """An image of a data set on this machine."""
    from vlmad_core.live.inputs import open_picture

    names = machine.example_sets()
    if not names:
        st.info("No data set is on this machine. Upload an image instead.", icon=":material/photo_library:")
        return Asked("Example")
    left, right = st.columns(2)
    with left:
        dataset = selection.choose(
            "dataset", "Data set", list(names), next(iter(names)), format_func=lambda n: names[n], slot="example"
        )
    listed = machine.examples(dataset)
    with right:
        category = frame.choose_category(listed.categories)
    samples = (*listed.select(category, "test"), *listed.select(category, "train"))
    if not samples:
        st.info(f"{selection.tidy(category)} has no images.", icon=":material/photo_library:")
        return Asked("Example", dataset=dataset, category=category)
    by_id = {sample.id: sample for sample in samples}
    first = visit.showcase(samples, "") or samples
    chosen = selection.current("image", list(by_id), first[min(1, len(first) - 1)].id)
    grid = st.grid("auto", min_column_width=84, gap="xsmall")
    for sample in visit.showcase(samples, chosen):
        with grid.cell():
            small = machine.small(dataset, sample.id)
            if small:
                st.image(small, width="stretch", alt=f"Example: {category}, {sample.defect_type}")
            st.button(
                visit.what_it_is(sample), key=f"use-{sample.id}",
                type="primary" if sample.id == chosen else "secondary", width="stretch",
                on_click=selection.remember, args=("image", sample.id),
            )  # fmt: skip
    selection.choose(
        "image", f"Any of the {len(samples)} images", list(by_id), chosen,
        format_func=lambda name: selection.tidy(name.split("/", 1)[-1], 80),
    )  # fmt: skip
    sample = by_id[chosen]
    picture = open_picture(sample.image_path, selection.tidy(chosen, 120))
    return Asked("Example", picture, None, dataset, category, f"The data set says: {visit.what_it_is(sample)}.")


def _uploaded(given: Any) -> Picture | None:
    """An upload or a photograph, decoded once however often the page runs."""
    if given is None:
        st.caption(FORMATS)
        return None
    return _read(_name(given), given.file_id, given.getvalue())


def _read(name: str, file_id: str, content: bytes) -> Picture:
    from vlmad_core.live.inputs import open_picture

    kept, key = visit.held().read, (file_id, name)
    if key not in kept:
        try:
            with st.spinner("Reading the image …"):
                kept[key] = open_picture(content, name)
        except VlmadError as error:
            kept[key] = error
        while len(kept) > 2:
            kept.popitem(last=False)
    found = kept[key]
    if isinstance(found, VlmadError):
        raise found
    return found


def _many() -> Given | None:
    """Many images: files, a zip archive, or a folder."""
    from vlmad_core.live.inputs import gather

    as_folder = st.toggle("A whole folder", key="batch_folder")
    label = f"Folder of images ({DEFAULT_LIMITS.max_batch} at most)" if as_folder else "Images or zip archives"
    files = st.file_uploader(
        label, type=TYPES if as_folder else [*TYPES, "zip"], key=f"batch-{as_folder}",
        accept_multiple_files="directory" if as_folder else True, max_upload_size=MEGABYTES,
    )  # fmt: skip
    if not files:
        st.caption(f"Up to {DEFAULT_LIMITS.max_batch} images, {MEGABYTES} MB each. They are not kept.")
        return None
    given = gather([(_name(one), one.getvalue()) for one in files])
    left = f", {given.left_out} files that are no images were left out" if given.left_out else ""
    st.caption(f"{len(given.items)} images{left}.")
    for problem in given.problems[:5]:
        st.warning(selection.tidy(problem, 300), icon=":material/block:")
    if len(given.problems) > 5:
        st.caption(f"And {len(given.problems) - 5} more that could not be used.")
    return given


def _references(sources: Sequence[Any]) -> tuple[Picture, ...]:
    """References one by one: a bad one is said, the others are used."""
    from vlmad_core.live.predict import read_references

    found: dict[str, Picture] = {}
    for source in sources[: DEFAULT_LIMITS.max_references]:
        try:
            found |= {one.content: one for one in read_references([source])}
        except VlmadError as error:
            complain(error)
    if len(sources) > DEFAULT_LIMITS.max_references:
        st.caption(f"Only the first {DEFAULT_LIMITS.max_references} are used.")
    return tuple(found.values())


def _drawn(asked: Asked) -> tuple[Picture, ...]:
    """References drawn from a data set's normal training images, as the benchmark draws them."""
    from vlmad_core.datasets.splits import draw_references

    dataset, category = asked.dataset, asked.category
    if dataset is None:
        names = machine.example_sets()
        if not names:
            st.caption("No data set is on this machine.")
            return ()
        dataset = st.selectbox("Data set", list(names), key="references_set")
        category = st.selectbox("Category", machine.examples(dataset).categories, key="references_category")
    available = machine.examples(dataset).select(category, "train")
    counts = [count for count in SHOTS if count <= len(available)]
    if not counts:
        st.caption("This category has no normal training images.")
        return ()
    shots = st.segmented_control(
        "How many", counts, default=counts[-1 if len(counts) < 3 else 2], required=True, key="references_shots"
    )
    drawn = draw_references(available, int(shots or counts[0]), seed=0)
    with st.container(horizontal=True, gap="xsmall"):
        for sample in drawn:
            small = machine.small(dataset, sample.id)
            if small:
                st.image(small, width=64, alt=f"Reference: {selection.tidy(sample.id, 100)}")
    return _references([sample.image_path for sample in drawn])


def _name(given: Any) -> str:
    return selection.tidy(str(given.name), 120)
