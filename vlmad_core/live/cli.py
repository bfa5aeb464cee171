"""The predict command: single images judged from the command line."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones.info import PRECISIONS
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.live.predict import DEFAULT_METHODS
from vlmad_core.methods.plugins import add_plugin_argument
from vlmad_core.paths import stores

if TYPE_CHECKING:
    from PIL import Image

    from vlmad_core.live.record import ImageResult, Judged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="images, folders or zip archives, 200 images at most"
    )
    parser.add_argument("--category", required=True, metavar="WORDS", help='what the part is, e.g. "metal nut"')
    parser.add_argument(
        "--method",
        dest="methods",
        nargs="+",
        default=list(DEFAULT_METHODS),
        metavar="M",
        help="name, name:preset, or name:prompts with the name of a prompt ensemble; six at most; default: "
        f"{' '.join(DEFAULT_METHODS)}",
    )
    parser.add_argument("--references", nargs="+", default=[], metavar="IMAGE", help="images of normal parts")
    parser.add_argument("--backbone", default="bundled", metavar="ID", help="bundled, a folder or a hub id")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="arithmetic of the backbone")
    parser.add_argument("--dataset", metavar="NAME", help="the data set the images come from, if any")
    parser.add_argument(
        "--threshold", nargs="+", default=[], metavar="METHOD=VALUE", help="thresholds of your own, by method"
    )
    parser.add_argument(
        "--store",
        type=Path,
        nargs="+",
        default=stores(),
        metavar="DIR",
        help="results folders to take thresholds from; default: results/bundled results",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write pictures, result.json, scores.csv, report.html")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """Judge the images.

    Returns:
        0, or 2 if an image could not be read or a method failed.

    Raises:
        VlmadError: As ``predict``; or if the output can't be written.
    """
    from vlmad_core.live.predict import predict
    from vlmad_core.methods.plugins import use_plugins

    use_plugins(args.plugin)
    if args.out is not None:
        make_folder(args.out)
    judged = predict(
        args.images,
        args.category,
        args.methods,
        args.references,
        backbone=args.backbone,
        precision=args.precision,
        dataset=args.dataset,
        thresholds=dict(_pair(text) for text in args.threshold),
        stores=args.store,
        progress=None if args.json else print_result,
    )
    if args.json:
        print(json.dumps(judged.to_json(), indent=1))
    else:
        for problem in judged.problems:
            print(problem, file=sys.stderr)
        if judged.left_out:
            print(f"{judged.left_out} files that are no images were left out.", file=sys.stderr)
    if args.out is not None:
        files = save(judged, args.out, args.images)
        print(f"wrote {len(files)} files to {args.out}", file=sys.stderr)
    return 2 if judged.failed else 0


def save(judged: Judged, folder: Path, sources: Sequence[Any]) -> list[Path]:
    """Write a judgement to a folder: result.json, scores.csv, report.html, and pictures of each image.

    Args:
        judged: The results.
        folder: Where; made if it is not there.
        sources: The images again, as they were given to ``predict``: results keep no pixels.

    Returns:
        The files.

    Raises:
        StoreError: If they can't be written.
    """
    from vlmad_core.live.drawing import Look, combined_figure, method_figure, png
    from vlmad_core.live.inputs import gather
    from vlmad_core.live.page import MOST_PICTURED, render

    look = Look()
    make_folder(folder)
    by_hash = {image.content: image for image in judged.images if image.content}
    pictures: dict[str, Image.Image] = {}
    files: list[Path] = []
    try:
        for number, item in enumerate(gather(sources).items, start=1):
            try:
                picture = item.read()
            except VlmadError:
                continue  # its error is in the results
            result = by_hash.get(picture.content)
            if result is None or picture.content in pictures:
                continue
            if len(pictures) < MOST_PICTURED:
                pictures[picture.content] = picture.image
            stem = f"{number:03d}-{file_stem(picture.name)}"
            whole = combined_figure(picture.image, result.opinions, look, picture.name)
            files.append(_write(folder / f"{stem}.png", png(whole)))
            for one in result.opinions:
                if one.prediction.anomaly_map is not None:
                    name = f"{stem}-{file_stem(one.prediction.method_id)}.png"
                    files.append(_write(folder / name, png(method_figure(picture.image, one, look))))
        files.append(_write(folder / "result.json", json.dumps(judged.to_json(), indent=1).encode()))
        files.append(_write(folder / "scores.csv", judged.table().to_csv(index=False).encode()))
        title = f"{judged.setup['category']}: {len(judged.images)} images judged"
        files.append(_write(folder / "report.html", render(judged, pictures, look, title).encode()))
    except OSError as error:
        raise StoreError(f"{folder} can't be written to: {error.strerror}.", "Choose another place.") from error
    return files


def make_folder(folder: Path) -> None:
    """Make a folder for the output.

    Raises:
        StoreError: If it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} can't be made: {error.strerror}.", "Choose another place.") from error


def file_stem(name: str) -> str:
    """A name as part of a file's name.

    >>> file_stem("../a b/winclip:canonical.png")
    'a_b_winclip_canonical'
    """
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    return re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_")[:60] or "image"


def print_result(result: ImageResult) -> None:
    """Print an image's results."""
    from vlmad_core.live.drawing import origin_line, score_line
    from vlmad_core.live.record import verdict_word

    if result.error is not None:
        print(result.error, file=sys.stderr)
        return
    print(result.name)
    for one in result.opinions:
        line = f"  {one.prediction.title:<24}{verdict_word(one):<11}{score_line(one):<28}{origin_line(one)}"
        print(line.rstrip(), flush=True)


def _write(path: Path, content: bytes) -> Path:
    from vlmad_core.io import write_atomically

    write_atomically(path, content)
    return path


def _pair(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not (name and equals) or number != number:
        raise StoreError(f"--threshold was given {text!r}.", "Write METHOD=VALUE, e.g. winclip=0.5.")
    return name, number
