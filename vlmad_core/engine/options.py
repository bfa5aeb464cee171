"""What a user may ask of a benchmark: one list, from which the command line, yaml plans and defaults are made."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, with_config
from pydantic_core import PydanticCustomError

from vlmad_core.backbones.devices import Similarities
from vlmad_core.backbones.feature_cache import DEFAULT_LIMIT
from vlmad_core.backbones.feature_files import Storage
from vlmad_core.backbones.info import AskedPrecision
from vlmad_core.errors import VlmadError
from vlmad_core.io import read_yaml
from vlmad_core.paths import store_root
from vlmad_core.records import Flag, Number, Whole, in_words, read_as

T = TypeVar("T")

Mode = Literal["matched", "as_published"]
Size = Literal["smoke", "fast", "full"]
KeepGrids = Literal["all", "first_seed", "none"]

SIZES: Mapping[Size, int | None] = {"smoke": 4, "fast": 16, "full": None}
"""Most normal and most defective test images per category."""


class PlanError(VlmadError):
    """A plan can't be made of what was asked."""


@dataclass(frozen=True, slots=True)
class Option:
    """How a field of ``PlanOptions`` is asked for on the command line; its type and values are the field's.

    Attributes:
        group: The group it is shown in.
        help: What it means; ``{default}`` stands for the field's default.
        metavar: What stands for its value.
        flag: Its name, where that is not the field's with dashes.
    """

    group: str
    help: str
    metavar: str | None = None
    flag: str | None = None


def _listed(value: object) -> object:
    listed = value if isinstance(value, list | tuple) else (value,)
    if not listed:
        raise PydanticCustomError("empty", "at least one entry")
    return listed


def _chosen(value: object) -> object:
    """A method as a mapping, from its identifier alone or a mapping in which nothing may be left blank."""
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, dict):
        return {name: own for name, own in value.items() if own is not None}
    if isinstance(value, MethodChoice):
        return value
    names = ", ".join(f.name for f in dataclasses.fields(MethodChoice) if f.name != "id")
    raise PydanticCustomError("method", f"a name such as 'winclip:canonical', or a mapping with id and any of {names},")


def _named(value: object) -> object:
    """Files by method, also from texts METHOD=FILE."""
    if not isinstance(value, list | tuple):
        return value
    pairs = [str(text).partition("=") for text in value]
    if not all(name and file for name, _, file in pairs):
        raise PydanticCustomError("pairs", "METHOD=FILE, e.g. april_gan=my.safetensors,")
    return {name: file for name, _, file in pairs}


Several = Annotated[tuple[T, ...], BeforeValidator(_listed)]
"""A list, for which a single value may stand."""

MOST = 100_000
"""References, draws, tiles, images and pixels of a side that can be asked for."""

MOST_THREADS = 1024
LONGEST_TEXT = 4096
"""Characters of a path or name, which is what systems take."""

Shots = Annotated[Whole, Field(ge=0, le=MOST)]
Positive = Annotated[Whole, Field(ge=1, le=MOST)]


def _usable(value: T) -> T:
    """A text or path that a system can take."""
    text = str(value)
    if not text or len(text) > LONGEST_TEXT or "\0" in text:
        raise PydanticCustomError("text", f"text of 1 to {LONGEST_TEXT} characters without a zero byte")
    return value


Text = Annotated[str, AfterValidator(_usable)]
Place = Annotated[Path, AfterValidator(_usable)]


@with_config(ConfigDict(extra="forbid"))
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

    id: Text
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: Text | None = None
    shots: Several[Shots] | None = None
    seeds: Positive | None = None
    grids: KeepGrids | None = None
    parameters: Place | None = None


WHAT, HOW = "what to compute", "how to compute"
KEPT = "features on disk, for runs with other prompts or methods later"
"""Groups of options, as help shows them."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class PlanOptions:
    """A benchmark as asked for: each field is a key of a yaml plan and, as its ``Option`` says, an argument.

    None stands for what the program chooses by itself.
    """

    datasets: Annotated[
        Several[Text],
        Option(WHAT, "bundled_a, bundled_b, a name in VLMAD_DATA_DIR, or a folder", "NAME|PATH", "--dataset"),
    ]
    methods: Annotated[
        Several[Annotated[MethodChoice, BeforeValidator(_chosen)]],
        Option(WHAT, "name or name:preset, e.g. winclip:accurate", "M", "--method"),
    ]
    shots: Annotated[Several[Shots], Option(WHAT, "numbers of normal references (default {default})", "K")] = (0,)
    seeds: Annotated[Positive, Option(WHAT, "draws of the references, seeds 0..N-1 (default {default})", "N")] = 1
    backbone: Annotated[
        Text | None, Option(WHAT, "bundled, a folder or a hub id (default: bundled, or each method's own)", "ID")
    ] = None
    mode: Annotated[Mode, Option(WHAT, "one backbone for all methods (default), or each as its authors had it")] = (
        "matched"
    )
    size: Annotated[Size, Option(WHAT, "how many test images per category (default {default})")] = "full"
    categories: Annotated[Several[Text] | None, Option(WHAT, "only these", "NAME")] = None
    store: Annotated[Place, Option(HOW, "results folder (default: VLMAD_STORE, or results)", "DIR")] = field(
        default_factory=store_root
    )
    batch_size: Annotated[
        Positive | None, Option(HOW, "images per pass (default: by the backbone's size; on a card by its memory)", "N")
    ] = None
    window_tokens: Annotated[
        Annotated[Whole, Field(ge=1, le=2**40)] | None,
        Option(
            HOW,
            "bound on memory: most tokens of WinCLIP's windows at once (default 65536; on a CPU what its cache holds)",
            "N",
        ),
    ] = None
    threads: Annotated[
        Annotated[Positive, Field(le=MOST_THREADS)] | None, Option(HOW, "threads of torch (default: all)", "N")
    ] = None
    precision: Annotated[
        AskedPrecision,
        Option(HOW, "arithmetic of the backbone; auto measures which is quickest here (default {default})"),
    ] = "float32"
    device: Annotated[Text, Option(HOW, "where to compute: auto, cpu, cuda, ... (default {default})", "NAME")] = "cpu"
    similarities: Annotated[
        Similarities,
        Option(
            HOW,
            "in what patches are compared on a graphics card (default {default}); tf32 is up to eight times as quick, "
            "moves scores a little and is a protocol of its own",
        ),
    ] = "float32"
    image_size: Annotated[Positive | None, Option(HOW, "side of the input (default: the backbone's own)", "S")] = None
    activation: Annotated[Literal["gelu", "quick_gelu"] | None, Option(HOW, "override the checkpoint's")] = None
    region: Annotated[
        Several[Annotated[Number, Field(ge=0, le=1)]] | None,
        Option(HOW, "part of each photo to look at: left top right bottom, as fractions (default: all of it)", "X"),
    ] = None
    tiles: Annotated[
        Several[Positive] | None,
        Option(HOW, "columns and rows of tiles a photo is cut into, each judged by itself (default: 1 1)", "N"),
    ] = None
    tile_overlap: Annotated[
        Number,
        Field(ge=0, le=0.5),
        Option(HOW, "share of a tile's side that neighbours have in common (default {default})", "X"),
    ] = 0.0
    parameters: Annotated[
        Mapping[str, Place],
        BeforeValidator(_named),
        Option(HOW, "trained parameters other than those found", "METHOD=FILE"),
    ] = field(default_factory=dict)
    tokenizer: Annotated[Text | None, Option(HOW, "hub id or folder, for checkpoints that bring none", "ID")] = None
    grids: Annotated[KeepGrids, Option(HOW, "which runs keep maps, curves and regions (default {default})")] = "all"
    replicates: Annotated[
        Flag | None,
        Option(HOW, "keep each metric on resampled images, to compare by (default: yes, but for a study's ablations)"),
    ] = None
    thumbnails: Annotated[Flag, Option(HOW, "store no thumbnails", flag="--no-thumbnails")] = True
    latency_images: Annotated[
        Shots,
        Option(
            HOW,
            "time N images one by one in each run's first unit, apart from the scores; 0 for none (default {default})",
            "N",
            "--latency",
        ),
    ] = 8
    cache: Annotated[Flag, Option(KEPT, "keep features and read those that are there (default: --no-cache)")] = False
    cache_dir: Annotated[
        Place | None,
        Option(KEPT, "where; implies --cache (default: VLMAD_CACHE_DIR, or the system's folder for caches)", "DIR"),
    ] = None
    cache_storage: Annotated[
        Storage,
        Option(
            KEPT,
            "half: directions in 16 bits, which moves scores a little and is a protocol of its own (default); full",
        ),
    ] = "half"
    cache_gb: Annotated[
        Number,
        Field(ge=0, le=2**30),
        Option(KEPT, "room; beyond it the least recently used go (default {default})", "N"),
    ] = DEFAULT_LIMIT / 2**30

    def __post_init__(self) -> None:
        if self.mode == "as_published" and (self.image_size or self.activation):
            raise PlanError(
                "In the mode as_published, input size and activation are those of each method's authors.",
                "Leave --image-size and --activation out, or use --mode matched.",
            )


def add_options(
    parser: argparse.ArgumentParser, names: Iterable[str] | None = None, helps: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Add the options of a plan to a command, none of them with a default, so that those given can be told.

    Args:
        parser: The command's parser.
        names: Fields of ``PlanOptions`` whose options to add; None for all.
        helps: Help by field, where it is not the field's.

    Returns:
        The groups of the parser by their titles, to which a command may add its own.
    """
    groups: dict[str, Any] = {}
    hints = get_type_hints(PlanOptions, include_extras=True)
    for one in dataclasses.fields(PlanOptions):
        if names is None or one.name in names:
            hint = hints[one.name]
            option = next(entry for entry in hint.__metadata__ if isinstance(entry, Option))
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            flag = option.flag or f"--{one.name.replace('_', '-')}"
            shown = {"metavar": option.metavar} if option.metavar else {}
            text = (helps or {}).get(one.name, option.help).replace("{default}", _default(one))
            groups[option.group].add_argument(flag, dest=one.name, help=text, **shown, **_argument(hint, flag))
    return groups


def _argument(hint: Any, flag: str) -> dict[str, Any]:
    """What argparse must know of a field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _argument(args[0], flag)
    if origin in (Union, UnionType):
        return _argument(next(one for one in args if one is not NoneType), flag)
    if origin is tuple:
        return {"nargs": "+", **_argument(args[0], flag)}
    if origin is Literal:
        return {"choices": args}
    if hint is bool:
        given = {"action": "store_false", "default": None}
        return given if flag.startswith("--no-") else {"action": argparse.BooleanOptionalAction}
    if origin is not None:
        return {"nargs": "+"}  # a mapping, from texts NAME=VALUE
    return {"type": hint} if hint in (int, float, Path) else {}


def _default(one: dataclasses.Field[Any]) -> str:
    """A field's default as help shows it."""
    made = one.default_factory
    value = one.default if made is dataclasses.MISSING else made()
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value).removesuffix(".0")


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The values of a plan's fields that were given on the command line."""
    names = [f.name for f in dataclasses.fields(PlanOptions)]
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    if "cache_dir" in given:
        given.setdefault("cache", True)
    return given


def plain_options(options: PlanOptions) -> dict[str, Any]:
    """The options as plain json values, from which ``make_options`` makes the same again."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    return {name: value for name, value in values.items() if value is not None}


def as_command(options: PlanOptions) -> str:
    """The command that computes the same; methods with settings of their own stand in it by their names."""
    words = ["python", "-m", "vlmad_core", "precompute"]
    hints = get_type_hints(PlanOptions, include_extras=True)
    plain, defaults = plain_options(options), plain_options(PlanOptions(("",), (MethodChoice(""),)))
    for one in dataclasses.fields(PlanOptions):
        value = plain.get(one.name)
        if value in (None, defaults.get(one.name)):
            continue
        option = next(entry for entry in hints[one.name].__metadata__ if isinstance(entry, Option))
        flag = option.flag or f"--{one.name.replace('_', '-')}"
        if one.name == "methods":
            value = [choice["id"] for choice in value]
        elif isinstance(value, dict):
            value = [f"{name}={own}" for name, own in value.items()]
        elif isinstance(value, bool):
            flag, value = flag if value or flag.startswith("--no-") else flag.replace("--", "--no-", 1), []
        words += [flag, *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


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
    raw = read_yaml(path, PlanError)
    if not isinstance(raw, dict):
        raise PlanError(f"The plan {path} holds no keys.", "Write e.g. 'datasets: [bundled_a]'.")
    return make_options({**raw, **changes}, f"The plan {path}")


def make_options(values: Mapping[str, Any], place: str = "The plan") -> PlanOptions:
    """Options from plain values, as a yaml file or the command line gives them.

    Raises:
        PlanError: If a key is unknown or a value wrong; names ``place``.
    """
    known = sorted(f.name for f in dataclasses.fields(PlanOptions))
    unknown = sorted(str(name) for name in values if name not in known)
    if unknown:
        raise PlanError(f"{place} has an unknown key {unknown[0]!r}.", f"Known are: {', '.join(known)}.")
    for name, flag in (("datasets", "--dataset NAME"), ("methods", "--method NAME"), ("shots", "--shots 0")):
        if {"shots": 0, **values}.get(name) in (None, "", [], ()):
            raise PlanError(f"{place} names no {name}.", f"Give at least one: {flag}.")
    try:
        return read_as(PlanOptions, dict(values))
    except ValidationError as error:
        raise PlanError(f"{place} can't be used: {in_words(error)}.", "Correct it.") from error
