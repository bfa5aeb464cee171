"""The predict command: single images judged from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.backbones.info import ASKED_PRECISIONS
from vlmad_core.errors import StoreError
from vlmad_core.live.predict import DEFAULT_METHODS
from vlmad_core.methods.plugins import add_plugin_argument
from vlmad_core.paths import stores

if TYPE_CHECKING:
    from vlmad_core.live.record import ImageResult


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
    parser.add_argument(
        "--precision",
        choices=ASKED_PRECISIONS,
        default="float32",
        help="arithmetic of the backbone; auto measures which is quickest here (default float32)",
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="where to compute: auto, cpu, cuda, ... (default auto)"
    )
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
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="neither read nor keep features of prompts and references (images are never kept)",
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
    from vlmad_core.live.saved import make_output, save
    from vlmad_core.methods.plugins import use_plugins

    use_plugins(args.plugin)
    if args.out is not None:
        make_output(args.out)
    judged = predict(
        args.images,
        args.category,
        args.methods,
        args.references,
        backbone=args.backbone,
        precision=args.precision,
        device=args.device,
        dataset=args.dataset,
        thresholds=dict(_pair(text) for text in args.threshold),
        stores=args.store,
        cache=not args.no_cache,
        progress=None if args.json else print_result,
    )
    if args.json:
        print(json.dumps(judged.to_json(), indent=1))
    else:
        if "precision_settled" in judged.setup:
            print(f"precision {judged.setup['precision_settled']}", file=sys.stderr)
        for problem in judged.problems:
            print(problem, file=sys.stderr)
        if judged.left_out:
            print(f"{judged.left_out} files that are no images were left out.", file=sys.stderr)
    if args.out is not None:
        files = save(judged, args.out, args.images)
        print(f"wrote {len(files)} files to {args.out}", file=sys.stderr)
    return 2 if judged.failed else 0


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


def _pair(text: str) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not (name and equals) or number != number:
        raise StoreError(f"--threshold was given {text!r}.", "Write METHOD=VALUE, e.g. winclip=0.5.")
    return name, number
