"""What a user may ask of a benchmark, from the command line or a yaml file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from vlmad_core.backbones.feature_cache import DEFAULT_LIMIT
from vlmad_core.backbones.feature_files import STORAGES, Storage
from vlmad_core.backbones.info import PRECISIONS, Precision
from vlmad_core.errors import VlmadError
from vlmad_core.paths import store_root

Mode = Literal["matched", "as_published"]
Size = Literal["smoke", "fast", "full"]
KeepGrids = Literal["all", "first_seed", "none"]

MODES: tuple[Mode, ...] = ("matched", "as_published")
SIZES: Mapping[Size, int | None] = {"smoke": 4, "fast": 16, "full": None}
"""Most normal and most defective test images per category."""

KEEP_GRIDS: tuple[KeepGrids, ...] = ("all", "first_seed", "none")


class PlanError(VlmadError):
    """A plan can't be made of what was asked."""


@dataclass(frozen=True)
class MethodChoice:
    """A method as asked for.

    Attributes:
        id: ``name`` or ``name:preset``.
        settings: Settings changed from the preset.
        label: Stands for the preset in the store, so that changed settings are a competitor of their own.
        shots: Numbers of references, where they differ from the plan's.
        seeds: Draws of the references, where they differ from the plan's.
        grids: What to keep of it, where that differs from the plan's.
        parameters: Its trained parameters, where not those that are found by themselves are meant.
    """

    id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    shots: tuple[int, ...] | None = None
    seeds: int | None = None
    grids: KeepGrids | None = None
    parameters: Path | None = None


@dataclass(frozen=True)
class PlanOptions:
    """A benchmark as asked for.

    Attributes:
        datasets: Names or paths.
        methods: Methods with their settings.
        shots: Numbers of reference images.
        seeds: Number of draws of the references: seeds 0 to ``seeds - 1``.
        backbone: ``bundled``, a folder, or a hub id; None for ``bundled`` in the mode ``matched``, and for each
            method's own in ``as_published``.
        mode: ``matched`` or ``as_published``.
        size: How much of the data; see ``SIZES``.
        categories: Only these; None for all.
        store: The results folder.
        batch_size: Images per pass; None to choose by the backbone's size.
        threads: Threads of torch; None for as many as torch takes.
        precision: Arithmetic of the towers.
        device: Where the vision tower computes, e.g. ``cuda``.
        image_size: Side of the input; None for the backbone's own (``matched`` only).
        activation: Overrides that of the checkpoint (``matched`` only).
        parameters: Trained parameters by method name, where not those that are found by themselves are meant.
        tokenizer: Hub id or folder, for checkpoints that bring none; None for the default.
        grids: Which runs keep their native grids, curves, regions and explanations.
        thumbnails: Whether to store thumbnails where the licence allows it.
        latency_images: Images that are timed one by one in a run's first unit, apart from the scores; 0 for none.
        window_tokens: Most tokens of windows that go through the tower at once, WinCLIP's bound on memory; None for
            the default.
        cache: Whether features are kept on disk and read from there.
        cache_dir: The folder; None for the default.
        cache_storage: At which precision features are kept; ``half`` moves scores a little and is part of a run's
            protocol, ``full`` does not.
        cache_gb: Room for all features together, in GiB.
    """

    datasets: tuple[str, ...]
    methods: tuple[MethodChoice, ...]
    shots: tuple[int, ...] = (0,)
    seeds: int = 1
    backbone: str | None = None
    mode: Mode = "matched"
    size: Size = "full"
    categories: tuple[str, ...] | None = None
    store: Path = field(default_factory=store_root)
    batch_size: int | None = None
    threads: int | None = None
    precision: Precision = "float32"
    device: str = "cpu"
    image_size: int | None = None
    activation: Literal["gelu", "quick_gelu"] | None = None
    parameters: Mapping[str, Path] = field(default_factory=dict)
    tokenizer: str | None = None
    grids: KeepGrids = "all"
    thumbnails: bool = True
    latency_images: int = 8
    window_tokens: int | None = None
    cache: bool = False
    cache_dir: Path | None = None
    cache_storage: Storage = "half"
    cache_gb: float = DEFAULT_LIMIT / 2**30

    def __post_init__(self) -> None:
        if not self.shots:
            raise PlanError("The plan names no shots.", "Give at least one number: --shots 0.")
        for name, allowed in (
            ("mode", MODES),
            ("size", tuple(SIZES)),
            ("precision", PRECISIONS),
            ("grids", KEEP_GRIDS),
            ("cache_storage", STORAGES),
        ):
            if getattr(self, name) not in allowed:
                raise PlanError(
                    f"The plan's {name} is {getattr(self, name)!r}.", f"Choose one of: {', '.join(allowed)}."
                )
        for name, value, least in (
            ("shots", min(self.shots), 0),
            ("seeds", self.seeds, 1),
            ("batch_size", self.batch_size, 1),
            ("threads", self.threads, 1),
            ("latency_images", self.latency_images, 0),
            ("window_tokens", self.window_tokens, 1),
        ):
            if value is not None and (not isinstance(value, int) or value < least):
                raise PlanError(f"The plan's {name} is {value!r}.", f"Give a whole number of at least {least}.")
        if isinstance(self.cache_gb, bool) or not isinstance(self.cache_gb, int | float) or self.cache_gb < 0:
            raise PlanError(f"The plan's cache_gb is {self.cache_gb!r}.", "Give a number of GiB, e.g. 10.")
        if self.mode == "as_published" and (self.image_size or self.activation):
            raise PlanError(
                "In the mode as_published, input size and activation are those of each method's authors.",
                "Leave --image-size and --activation out, or use --mode matched.",
            )


def own_options(options: PlanOptions, choice: MethodChoice) -> PlanOptions:
    """The options as they hold for one of the methods."""
    own: dict[str, Any] = {
        name: value for name in ("shots", "seeds", "grids") if (value := getattr(choice, name)) is not None
    }
    if choice.parameters is not None:
        own["parameters"] = {**options.parameters, choice.id.partition(":")[0]: choice.parameters}
    return dataclasses.replace(options, **own)


def read_plan(path: Path, changes: Mapping[str, Any]) -> PlanOptions:
    """Read a plan from a yaml file whose keys are the attributes of ``PlanOptions``.

    Args:
        path: The file. ``methods`` is a list of identifiers, or of mappings with the attributes of ``MethodChoice``.
        changes: Values that override the file's, e.g. from the command line.

    Raises:
        PlanError: If the file can't be read, or holds an unknown key or a wrong value.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise PlanError(f"The plan {path} can't be read: {error}.", "Check the file.") from error
    if not isinstance(raw, dict):
        raise PlanError(f"The plan {path} holds no keys.", "Write e.g. 'datasets: [bundled_a]'.")
    return make_options({**raw, **changes}, str(path))


def make_options(values: Mapping[str, Any], place: str = "the plan") -> PlanOptions:
    """Options from plain values, as a yaml file or the command line gives them.

    Raises:
        PlanError: If a key is unknown or a value wrong; names ``place``.
    """
    known = {f.name for f in dataclasses.fields(PlanOptions)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise PlanError(f"{place} has an unknown key {unknown[0]!r}.", f"Known are: {', '.join(sorted(known))}.")
    for name in ("datasets", "methods"):
        if not values.get(name):
            raise PlanError(f"{place} names no {name}.", f"Give at least one: --{name.rstrip('s')}.")
    plain = dict(values)
    for name in ("datasets", "shots", "categories", "methods"):
        if plain.get(name) is not None:
            value = plain[name]
            plain[name] = tuple(value) if isinstance(value, list | tuple) else (value,)
    if "methods" in plain:
        plain["methods"] = tuple(_method(item, place) for item in plain["methods"])
    if plain.get("parameters") is not None:
        plain["parameters"] = {str(name): Path(file) for name, file in dict(plain["parameters"]).items()}
    for name in ("store", "cache_dir"):
        if plain.get(name) is not None:
            plain[name] = Path(plain[name])
    return PlanOptions(**plain)


def _method(item: object, place: str) -> MethodChoice:
    if isinstance(item, MethodChoice):
        return item
    if isinstance(item, str):
        return MethodChoice(item)
    known = {f.name for f in dataclasses.fields(MethodChoice)}
    if isinstance(item, dict) and isinstance(item.get("id"), str) and set(item) <= known:
        own = {**item, "settings": dict(item.get("settings") or {})}
        if own.get("shots") is not None:
            own["shots"] = tuple(own["shots"]) if isinstance(own["shots"], list | tuple) else (own["shots"],)
        if own.get("parameters") is not None:
            own["parameters"] = Path(own["parameters"])
        return MethodChoice(**own)
    raise PlanError(
        f"{place} names a method as {item!r}.",
        f"Write 'winclip:canonical', or a mapping with id and, where needed, {', '.join(sorted(known - {'id'}))}.",
    )
