"""Judging images from Python: what the page and the command line do, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core import paths
from vlmad_core.cards import first_choices
from vlmad_core.datasets.images import DEFAULT_LIMITS, ImageLimits
from vlmad_core.errors import DatasetError, VlmadError
from vlmad_core.live.inputs import Item, Picture, Source, gather

if TYPE_CHECKING:
    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.inference.engine import Engine
    from vlmad_core.live.panel import LivePrediction, Panel
    from vlmad_core.live.record import ImageResult, Judged
    from vlmad_core.live.remote import RemotePanel
    from vlmad_core.live.verdicts import Opinion

DEFAULT_METHODS = first_choices()

Judge = Callable[["LivePrediction"], "Opinion"]


def predict(
    images: Source | Sequence[Source],
    category: str,
    methods: Sequence[str] = DEFAULT_METHODS,
    references: Source | Sequence[Source] = (),
    *,
    backbone: str | Engine = "bundled",
    precision: AskedPrecision = "float32",
    device: str = "auto",
    dataset: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    stores: Sequence[Path] | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    cache: bool = True,
    progress: Callable[[ImageResult], None] | None = None,
) -> Judged:
    """Judge images with several methods; the same results as the dashboard's live demo.

    Args:
        images: Files, folders, zip archives or open Pillow images; one, or several.
        category: What the part is, in words, e.g. ``metal nut``.
        methods: Identifiers, ``name`` or ``name:preset``.
        references: Images of normal parts, given as images are, for few-shot methods and for thresholds.
        backbone: ``bundled``, a folder, a hub id; or an engine that is loaded already.
        precision: Arithmetic of the backbone's towers; ``auto`` for what is measured to be quickest here.
        device: Where to compute; ``auto`` for the accelerator torch finds, or the CPU.
        dataset: The data set the images come from, if any: no method then uses parameters trained on it, and its
            stored runs are preferred for thresholds.
        thresholds: Custom thresholds by method, ``name`` or ``name:preset``.
        stores: Results folders with runs to take thresholds from, and with ``parameters``; those that don't exist are
            passed over. ``paths.stores()`` if None.
        limits: What is accepted.
        cache: Whether features of prompts and references (never an image) are kept on disk for the next call; see
            ``load_engine``.
        progress: Called with each image's result as soon as it is there.

    Returns:
        Scores, anomaly maps, verdicts and reasons, with all settings. An image that can't be read and a method
        that fails carry their error; the others are judged.

    Raises:
        VlmadError: If the category's name can't be used, a reference can't be read, there is no image, the
            backbone can't be loaded, or a threshold is given for a method that is not there.

    Examples:
        >>> import vlmad_core
        >>> judged = vlmad_core.predict("part.png", "metal nut", ["clip_cpe", "winclip"])  # doctest: +SKIP
        >>> print(judged.table())  # doctest: +SKIP
    """
    from vlmad_core.datasets.catalogue import category_words
    from vlmad_core.inference.engine import load_engine
    from vlmad_core.live.members import choose_members
    from vlmad_core.live.panel import Panel
    from vlmad_core.live.record import Judged, setup_of

    words = category_words(category, limits)
    roots = paths.stores() if stores is None else stores
    given = gather(_several(images), limits)
    known = read_references(_several(references), limits)
    engine = load_engine(backbone, precision, device, cache=cache) if isinstance(backbone, str) else backbone
    members = choose_members(methods, engine.info, len(known), dataset, paths.parameter_folders(roots), limits)
    panel = Panel(engine, words, members, known)
    judge = opinion_rule(panel, dataset, own_thresholds(panel, thresholds or {}), roots)
    results = []
    for result in judge_items(panel, given.items, judge):
        results.append(result)
        if progress is not None:
            progress(result)
    return Judged(setup_of(panel), tuple(results), given.problems, given.left_out)


def read_references(sources: Sequence[Source], limits: ImageLimits = DEFAULT_LIMITS) -> tuple[Picture, ...]:
    """Read normal references; two of the same pixels count as one.

    Raises:
        DatasetError: If one can't be read, or there are more than ``limits.max_references``.
    """
    if not sources:
        return ()
    given = gather(sources, limits)
    if given.problems:
        raise DatasetError(f"References: {given.problems[0]}")
    if len(given.items) > limits.max_references:
        raise DatasetError(
            f"{len(given.items)} references were given, more than the {limits.max_references} allowed.",
            "Give fewer; four to eight are usual.",
        )
    pictures = [item.read() for item in given.items]
    return tuple({picture.content: picture for picture in pictures}.values())


def judge_items(panel: Panel | RemotePanel, items: Sequence[Item], judge: Judge) -> Iterator[ImageResult]:
    """Judge one image after the other; one that can't be read carries its error.

    Args:
        panel: The methods.
        items: The images.
        judge: Gives a prediction its verdict.
    """
    from vlmad_core.live.record import ImageResult

    for item in items:
        try:
            picture = item.read()
        except VlmadError as error:
            yield ImageResult(item.name, error=str(error))
            continue
        opinions = tuple(judge(prediction) for prediction in panel.judge(picture))
        order = [member.method_id for member in panel.members]
        opinions = tuple(sorted(opinions, key=lambda one: order.index(one.prediction.method_id)))
        yield ImageResult(picture.name, picture.image.size, picture.content, opinions)


def opinion_rule(panel: Panel, dataset: str | None, own: Mapping[str, float], stores: Sequence[Path]) -> Judge:
    """How predictions of a panel get their verdict: by one's own thresholds, the references, or a stored run."""
    from vlmad_core.analysis.comparable import comparisons
    from vlmad_core.live.verdicts import Yardstick, find_yardstick, give_opinion
    from vlmad_core.store.reader import open_stores

    store = open_stores(stores)
    found = comparisons(store)
    known: dict[str, Yardstick | None] = {}

    def judge(prediction: LivePrediction) -> Opinion:
        name = prediction.method_id
        if name not in known:
            known[name] = find_yardstick(store, found, panel.info, prediction, panel.category, dataset)
        return give_opinion(prediction, known[name], own.get(name))

    return judge


def own_thresholds(panel: Panel, given: Mapping[str, float]) -> dict[str, float]:
    """Custom thresholds by full method id.

    Raises:
        DatasetError: If one is for a method that is not on the panel.
    """
    found: dict[str, float] = {}
    for name, value in given.items():
        matches = [m.method_id for m in panel.members if name in (m.method_id, m.method_id.partition(":")[0])]
        if not matches:
            raise DatasetError(
                f"A threshold was given for {name!r}, which is not among the methods.",
                f"Name one of: {', '.join(member.method_id for member in panel.members)}.",
            )
        found |= dict.fromkeys(matches, float(value))
    return found


def _several(sources: Source | Sequence[Source]) -> list[Source]:
    """A tuple of a name and bytes is one upload; any other list or tuple holds several sources."""
    if isinstance(sources, list) or (isinstance(sources, tuple) and not _is_upload(sources)):
        return list(sources)
    return [sources]  # type: ignore[list-item]


def _is_upload(value: tuple[object, ...]) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], bytes)
