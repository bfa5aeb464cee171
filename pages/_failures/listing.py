"""Which images are listed: filters, kept in the address like every choice; the list itself; and the list as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, pictures, selection, take_along
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.failures import MOST_PICTURES, areas_of, csv_of, may_copy, narrow, picture_name, zip_of
from vlmad_core.analysis.verdicts import ANY, COMPANY_LABELS, counts, keep_company
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.matrices import PAIR
from vlmad_core.figures.overlay import OPACITY, encode
from vlmad_core.store.annotations import Annotation
from vlmad_core.store.reader import Missing

LISTS = {
    "missed": ("Missed defects", ":material/visibility_off:"),
    "false_alarm": ("False alarms", ":material/notifications_active:"),
    "found": ("Defects found", ":material/check:"),
    "passed": ("Passed as normal", ":material/done_all:"),
}
NAMES = ("type", "area", "tag", "shared")


@dataclass(frozen=True)
class Filters:
    """What the visitor wants to see of a list.

    Attributes:
        types: Defect types; all if empty.
        areas: Bins of defect area; all if empty.
        tags: Tags; all images, tagged or not, if empty.
        company: Whom a mistake is shared with, as ``keep_company`` takes it.
    """

    types: tuple[str, ...]
    areas: tuple[str, ...]
    tags: tuple[str, ...]
    company: str

    @property
    def number(self) -> int:
        """How many filters are set."""
        return sum(map(bool, (self.types, self.areas, self.tags))) + (self.company != ANY)

    def apply(
        self, judged: pd.DataFrame, others: Mapping[str, pd.DataFrame], notes: Mapping[str, Annotation]
    ) -> pd.DataFrame:
        """The images that are left."""
        return keep_company(narrow(judged, self.types, self.areas, self.tags, notes), others, self.company)


def choose_list(judged: pd.DataFrame, passing: pd.DataFrame) -> str:
    """Which list is shown: that of the image in the link, else the one chosen, else the first with images.

    Args:
        judged: All images, as ``judge_entry`` gives them.
        passing: Those that the filters leave; their numbers are shown.
    """
    number = counts(passing)
    opened = selection.current("image", judged["image_id"].tolist(), "")
    own = passing.loc[passing["image_id"] == opened, "verdict"].tolist()
    first = next((kind for kind in LISTS if number[kind]), "missed")
    kind = str(own[0]) if own else selection.current("list", list(LISTS), first)
    st.session_state["list"] = kind
    st.segmented_control(
        "Show", list(LISTS), key="list", required=True, on_change=_other_list, label_visibility="collapsed",
        format_func=lambda name: f"{LISTS[name][1]} {LISTS[name][0]} ({number[name]})",
    )  # fmt: skip
    return kind


def choose_filters(
    scope: str, judged: pd.DataFrame, others: Mapping[str, str], notes: Mapping[str, Annotation]
) -> Filters:
    """Choosers for the filters, behind one button.

    Args:
        scope: What the list is of; when it changes, values that do not exist there are dropped without a notice.
        judged: Images that may be listed.
        others: Titles of the other methods by id.
        notes: Notes by image.
    """
    moved = st.session_state.get("filters_of", scope) != scope
    st.session_state["filters_of"] = scope
    types = tuple(sorted(set(judged["defect_type"])))
    tags = tuple(sorted({tag for one in notes.values() for tag in one.tags}))
    companies = {**COMPANY_LABELS, **{line: f"Other opinion than {title}" for line, title in others.items()}}
    set_now = sum(bool(st.query_params.get(name)) for name in NAMES)
    with st.popover(f"Filter ({set_now})" if set_now else "Filter", icon=":material/filter_list:"):
        chosen = Filters(
            _several("type", "Defect type", types, moved, lambda name: selection.tidy(category_label(name))),
            _several("area", "Area of the defect, share of the image", areas_of(judged), moved, str),
            _several("tag", "Tag", tags, moved, selection.tidy),
            _company(companies, moved),
        )
        st.button("Clear filters", icon=":material/filter_list_off:", on_click=_clear, disabled=not chosen.number)
    return chosen


def _several(
    name: str, label: str, options: Sequence[str], quiet: bool, format_func: Callable[[str], str]
) -> tuple[str, ...]:
    given = st.query_params.get_all(name)
    known = [value for value in given if value in options]
    if len(known) < len(given):
        wrong = next(value for value in given if value not in options)
        if not quiet:
            selection.notice(f"This link asks for {name} `{selection.tidy(wrong)}`, which is not here.")
        _write(name, known)
    key = f"filter_{name}"
    st.session_state[key] = known
    if options:
        st.pills(
            label, options, selection_mode="multi", key=key, wrap=True, format_func=format_func,
            on_change=_several_changed, args=(name, key),
        )  # fmt: skip
    return tuple(known)


def _company(options: Mapping[str, str], quiet: bool) -> str:
    value = selection.current("shared", list(options), ANY, quiet=quiet)
    st.session_state["filter_shared"] = value
    st.selectbox(
        "At the threshold of the same name", list(options), key="filter_shared", on_change=_company_changed,
        format_func=lambda name: selection.tidy(options[name], 80),
    )  # fmt: skip
    return value


def open_pair() -> None:
    """Show the images behind the clicked cell of the grid of pairs."""
    state = st.session_state["pairs"]
    threshold = st.query_params.get("threshold", "")
    for pair in state.selection.get(PAIR, []):
        selection.remember("method", str(pair["wrong"]))
        selection.remember("shared", ANY if pair["wrong"] == pair["right"] else str(pair["right"]))
        selection.forget("image", "list", "type", "area", "tag")
        if threshold and not threshold.replace(".", "").replace("-", "").isdigit():
            selection.remember("threshold", threshold)  # a value set by hand was on the scale of another method


def _other_list() -> None:
    selection.forget("image")
    selection.remember("list", st.session_state["list"])


def _several_changed(name: str, key: str) -> None:
    _write(name, st.session_state[key])


def _company_changed() -> None:
    selection.remember("shared", st.session_state["filter_shared"])


def _clear() -> None:
    selection.forget(*NAMES)


def _write(name: str, values: Sequence[str]) -> None:
    if values:
        st.query_params[name] = list(values)
    elif name in st.query_params:
        del st.query_params[name]


def show_list(
    run_ids: Mapping[str, str], listed: pd.DataFrame, opened: str, marked: Mapping[str, Annotation], per_page: int
) -> None:
    """Small pictures of the listed images, clearest mistake first; a button opens each.

    Args:
        run_ids: The run of each category.
        listed: The list.
        opened: The image that is open.
        marked: Images with a note.
        per_page: How many are shown at once.
    """
    ids = listed["image_id"].tolist()
    last = -(-len(ids) // per_page)
    if st.session_state.get("list_of") != (opened, len(ids)):
        st.session_state["list_of"] = opened, len(ids)
        st.session_state["list_page"] = ids.index(opened) // per_page + 1
    st.session_state["list_page"] = min(st.session_state.get("list_page", 1), last)
    page = st.session_state["list_page"]
    part = listed.iloc[(page - 1) * per_page : page * per_page]
    small: dict[str, bytes] = {}
    for category, group in part.groupby("category", sort=False):
        small |= pictures.thumbnails(run_ids[str(category)], str(category), group["image_id"].tolist())
    grid = st.grid("auto", min_column_width=104, gap="xsmall")
    for row in part.to_dict("records"):
        image_id = row["image_id"]
        name = pictures.short_name(image_id)
        with grid.cell():
            if image_id in small:
                drawing.picture(small[image_id], alt=f"{name}, score {row['score']:.3g}")
            st.button(
                f"{row['rank']} · {row['margin']:+.2g}",
                key=f"open-{image_id}",
                icon=":material/edit_note:" if image_id in marked else None,
                type="primary" if image_id == opened else "secondary",
                on_click=selection.remember,
                args=("image", image_id),
                width="stretch",
                help=f"{name}: score {row['score']:.4g}, {row['margin']:+.4g} from the threshold",
            )
    if last > 1:
        st.pagination(last, key="list_page")


def offer_files(
    one: Comparison, line: Entry, listed: pd.DataFrame, marked: Mapping[str, Annotation], name: str
) -> None:
    """The listed images as csv, and with their images as zip, to take along; files are made when asked for.

    Args:
        one: What is compared.
        line: The method.
        listed: The list, as ``verdicts.ranked`` gives it.
        marked: Notes by image.
        name: Name of the files, without the ending.
    """
    about = {"dataset": one.dataset, "method": line.id, "shots": line.shots}
    refused = may_copy(one.runs[0].provenance.data)

    def table() -> str:
        return csv_of(listed, marked, about)

    def archive() -> bytes:
        return zip_of(csv_of(listed, marked, about), _pictures(line, listed.head(MOST_PICTURES)))

    forms: dict[str, tuple[str, take_along.Writer]] = {"csv": ("text/csv", table)}
    if refused is None:
        forms["zip"] = ("application/zip", archive)
    take_along.files(name, "This list", forms, disabled=listed.empty)
    note = selection.tidy(refused, 300) if refused else f"The zip holds images and maps, of at most {MOST_PICTURES}."
    take_along.offers().caption(note)


def _pictures(line: Entry, listed: pd.DataFrame) -> Iterator[tuple[str, bytes | Missing]]:
    """Each image, and its map with the true outline where there is one."""
    for row in listed.to_dict("records"):
        category, image_id, rank = str(row["category"]), str(row["image_id"]), int(row["rank"])
        run = line.run_with(category)
        if run is None:
            continue
        pixels = pictures.picture(run.id, category, image_id).pixels
        yield picture_name(rank, image_id, ".webp"), pixels if isinstance(pixels, Missing) else encode(pixels)
        scale = data.rarity(run.id, category)
        drawn = pictures.drawn_map(run.id, category, image_id, scale, OPACITY, True) if scale else None
        if drawn is not None and not isinstance(drawn, Missing) and not isinstance(pixels, Missing):
            yield picture_name(rank, image_id, "-map.webp"), drawn.content
