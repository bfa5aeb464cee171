"""Step 1: the photos of a part, what was found in them, and what the part is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from pages._ui import data, machine, selection
from vlmad_core import paths
from vlmad_core.datasets import Dataset, Sample, list_datasets, load_dataset
from vlmad_core.datasets.check import CheckReport, check_dataset, sizes_in_words
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.images import DEFAULT_LIMITS
from vlmad_core.datasets.inspecting import Content
from vlmad_core.datasets.loading import load_from
from vlmad_core.datasets.parts import Part, as_part, offered_folders, without_links_out
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import parts
from vlmad_core.workspace.uploads import UPLOAD_MEGABYTES, Upload, gather_upload, sorted_upload

TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]
SOURCES = {
    "files": "Files or a zip",
    "folder": "A folder of this computer",
    "heaps": "Good and bad apart",
    "server": "A folder on the server",
}
FORMS = (
    "Folders `good` and `bad` (or `ok` and `ng`, `normal` and `defective`, or a folder for each type of defect), MVTec "
    "AD's layout, or one folder with `labels.csv` (file, label); with or without masks. For photos in no folders, "
    "give good and bad ones apart."
)
SHOWN = 4
"""Photos of each label that are shown small."""
FILE_MEGABYTES = 500
"""The largest file. Of a larger one the browser's field would say 1 GB, which the server does not take."""
MOST_TOLD = 8
"""Findings of one kind, and problems of an upload, that are shown one by one."""


@dataclass
class Held:
    """What one visitor has uploaded, in memory.

    Attributes:
        mark: Tells uploads apart.
        upload: The photos; None with the error where they can't be used.
        error: Why they can't be used.
        listings: Their data set under each name that was typed.
        report: What was found in them, once they were checked.
    """

    mark: tuple[str, ...]
    upload: Upload | None = None
    error: VlmadError | None = None
    listings: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    report: CheckReport | None = None


def show_photos(part: Part | None) -> Part | None:
    """Choose photos and name the part, or say what a kept part has.

    Args:
        part: A kept part, or None for a new one.

    Returns:
        The part, not kept yet where it is new; None until there are photos that can be used, and a name.
    """
    st.subheader("1. Photos", anchor=False)
    if part is not None:
        if part.folder is None and not part.photos.is_dir():
            title = selection.tidy(part.title)
            st.info(f"The photos of {title} were removed from the workspace. What was found with them stays.")
            return part
        try:
            _show_check(_report(part, listing(part)), content(part), titled=part)
        except VlmadError as error:
            st.warning(selection.tidy(str(error), 400), icon=":material/broken_image:")
        return part
    source = st.segmented_control(
        "Photos", list(SOURCES), default="files", key="part_source", required=True, persist_state="session",
        format_func=SOURCES.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    st.caption(FORMS)
    folder = _server_folder() if source == "server" else None
    held = None if source == "server" else _uploaded(str(source))
    if folder is None and held is None:
        if source != "server":
            st.caption(_where_uploads_go())
        return None
    title = st.text_input(
        "What is it? (in words, as prompts name it)", max_chars=DEFAULT_LIMITS.max_words, key="part_title",
        placeholder="for example: metal plate",
    )  # fmt: skip
    named = parts.new_part(title if title.strip() else "part", folder)
    _show_check(_report(named, listing(named)), content(named))
    if held is not None:
        st.caption(_where_uploads_go())
    if not title.strip():
        st.info("Say in a word or two what the part is: the prompts need it.", icon=":material/edit:")
        return None
    return named


def listing(part: Part) -> Dataset:
    """A part's data set, whether its photos are written or still in memory.

    Raises:
        VlmadError: If it can't be read.
    """
    if part.kept:
        return load_dataset(part.slug)
    if part.folder is not None:
        return as_part(without_links_out(load_from(part.photos)), part)
    held = _held()
    if held is None or held.upload is None:
        raise (
            held.error
            if held and held.error
            else VlmadError(f"The photos of {part.title} are gone.", "Give them again.")
        )
    key = (part.slug, part.noun)
    if key not in held.listings:
        held.listings[key] = held.upload.listing(part)
    return held.listings[key]


def content(part: Part) -> Content:
    """How to read a file of a part's data set: where it lies, or from memory."""
    held = _held()
    return Path if part.kept or part.folder or held is None or held.upload is None else held.upload.content


def usable(part: Part) -> bool:
    """Whether a part's photos can be read."""
    try:
        return bool(listing(part).samples)
    except VlmadError:
        return False


def keep(part: Part) -> Part:
    """Write a part to the workspace if it is not there yet, its photos too where they were uploaded.

    Returns:
        The part as it is kept: its slug may be another one now.

    Raises:
        VlmadError: If the workspace can't be written to.
    """
    if part.kept:
        return part
    held = _held()
    taken = {one.dataset for one in data.all_comparisons()} | {entry.name for entry in list_datasets()}
    taken |= set(data.published()[0])
    kept = parts.keep(part, taken, held.upload if held and part.folder is None else None)
    _forget()
    selection.remember("dataset", kept.slug)
    return kept


def _server_folder() -> Path | None:
    """A folder on the server, typed or chosen."""
    places = [f"`{selection.tidy(str(place), 200)}`" for place in (paths.data_dir(), paths.workspace()) if place]
    given = st.selectbox(
        "Folder on the server", offered_folders(), index=None, accept_new_options=True, key="part_folder",
        placeholder="choose one, or type a path",
    )  # fmt: skip
    st.caption(f"Only below {' and '.join(places)}. The photos stay where they are.")
    return Path(given) if given else None


def _uploaded(source: str) -> Held | None:
    """What was uploaded, listed once; None while there is nothing.

    Raises:
        VlmadError: If it can't be used.
    """
    if source == "heaps":
        left, right = st.columns(2)
        with left:
            good = _upload_field("Photos of good parts", "part_good", zips=True)
        with right:
            bad = _upload_field("Photos of defective parts", "part_bad", zips=True)
        files = [*good, *bad]
    else:
        whole = source == "folder"
        files = _upload_field(
            "Folder of photos" if whole else "Photos or zip archives", f"part_{source}", zips=not whole, folder=whole
        )
        good, bad = files, []
    if not files:
        return _kept_in_memory()
    mark = (source, *(one.file_id for one in files))
    held = _held()
    if held is None or held.mark != mark:
        held = Held(mark)
        try:
            first, second = ([(one.name, one.getvalue()) for one in heap] for heap in (good, bad))
            held.upload = sorted_upload(first, second) if source == "heaps" else gather_upload(first)
        except VlmadError as error:
            held.error = error
        st.session_state["part_held"] = held
    if held.error is not None:
        raise held.error
    _tell_problems(held.upload)
    return held


def _upload_field(label: str, key: str, *, zips: bool, folder: bool = False) -> list[Any]:
    """A field for files, and what is in it."""
    kinds = [*TYPES, "csv", "json", *(["zip"] if zips else [])]
    given = st.file_uploader(
        label, type=kinds, accept_multiple_files="directory" if folder else True, key=key, on_change=_forget,
        max_upload_size=FILE_MEGABYTES,
    )  # fmt: skip
    return list(given or ())


def _kept_in_memory() -> Held | None:
    """Photos that were uploaded before the visitor looked at another page."""
    held = _held()
    if held is None or held.upload is None:
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(held.upload.files)} files are in memory.")
        st.button("Forget them", icon=":material/delete:", key="part_forget", on_click=_forget, type="tertiary")
    return held


def _tell_problems(upload: Upload | None) -> None:
    """What of an upload can't be used."""
    problems = upload.problems if upload else ()
    for problem in problems[:MOST_TOLD]:
        st.warning(selection.tidy(problem, 300), icon=":material/block:")
    if len(problems) > MOST_TOLD:
        st.caption(f"And {len(problems) - MOST_TOLD:,} more that could not be used.")
    if upload and upload.left_out:
        st.caption(f"Left out, since they are no photos by their endings: {upload.left_out:,}.")


def _where_uploads_go() -> str:
    """What becomes of an upload, said before anything is written."""
    where = selection.tidy(str(paths.workspace().absolute()), 200)
    return (
        f"Up to {UPLOAD_MEGABYTES} MB in all. Photos stay in the memory of this dashboard until you start a job; then "
        f"they are written to `{where}` on its machine, where one button removes them."
    )


def _report(part: Part, dataset: Dataset) -> CheckReport:
    """What was found in a part's photos; each set of photos is checked once."""
    held = _held()
    if not part.kept and part.folder is None and held is not None:
        if held.report is None:
            with st.spinner("Checking the photos …"):
                held.report = check_dataset(dataset, content(part))
        return held.report
    return _checked(_state(dataset.samples), dataset)


@st.cache_resource(max_entries=16, show_spinner="Checking the photos …")
def _checked(state: str, _dataset: Dataset) -> CheckReport:
    return check_dataset(_dataset)


def _state(samples: Sequence[Sample]) -> str:
    """Changes with the photos: which there are, and when the files were written. An upload is like no other."""
    paths_and_times = [
        (str(path), path.stat().st_mtime_ns if path.is_file() else 0)
        for sample in samples
        for path in (sample.image_path, sample.mask_path)
        if path is not None
    ]
    return f"{listing_hash(samples)} {hash(tuple(paths_and_times))}"


def _show_check(report: CheckReport, read: Content, titled: Part | None = None) -> None:
    """Findings in plain words: numbers first, then what is wrong, then what so few photos can show."""
    train, good, bad = (sum(column) for column in zip(*report.counts.values(), strict=True))
    masks = sum(report.masks.values())
    name = f"**{selection.tidy(titled.title)}**: " if titled else ""
    st.markdown(
        f"{name}**{train + good} good** photos, {train} of them for references and never tested on, and "
        f"**{bad} defective** ones, {masks or 'none'} with a mask."
    )
    errors = [remark for remark in report.remarks if remark.severity == "error"]
    others = [remark for remark in report.remarks if remark.severity != "error"]
    _show_some(report.dataset, read)
    for remark in errors:
        st.warning(_told(remark.sentence, remark.items), icon=":material/report:")
    with st.expander("What the check says", icon=":material/fact_check:", expanded=not titled and bool(errors)):
        lines = [
            sizes_in_words(report.sizes),
            *report.dataset.notes,
            *(one.sentence for one in others),
            *report.outlook,
        ]
        st.markdown("\n".join(f"- {selection.tidy(line, 400)}" for line in lines))


def _show_some(dataset: Dataset, read: Content) -> None:
    """A few photos of each label, so that one sees whether the labels are right."""
    with st.container(horizontal=True, gap="xsmall"):
        for label, words in ((0, "good"), (1, "defective")):
            own = [sample for sample in dataset.samples if sample.label == label]
            for sample in own[:: max(1, len(own) // SHOWN)][:SHOWN]:
                picture = _small(_state([sample]), sample.image_path, read)
                if picture:
                    name = selection.tidy(sample.id, 100)
                    st.image(picture, width=84, caption=words, alt=f"A {words} photo: {name}")


@st.cache_data(max_entries=200, show_spinner=False)
def _small(state: str, _path: Path, _read: Content) -> bytes | None:
    try:
        return machine.small_copy(_read(_path))
    except VlmadError:
        return None


def _told(sentence: str, items: Sequence[str]) -> str:
    more = f"\n- and {len(items) - MOST_TOLD} more" if len(items) > MOST_TOLD else ""
    return "\n".join([sentence, "", *(f"- {selection.tidy(item, 300)}" for item in items[:MOST_TOLD])]) + more


def _held() -> Held | None:
    held: Held | None = st.session_state.get("part_held")
    return held


def _forget() -> None:
    st.session_state.pop("part_held", None)
