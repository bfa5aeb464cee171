"""The report command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vlmad_core.errors import StoreError
from vlmad_core.paths import stores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the html file to write")
    parser.add_argument(
        "--store",
        type=Path,
        nargs="+",
        default=stores(),
        metavar="DIR",
        help="results folders, read as one; default: results/bundled results",
    )
    parser.add_argument("--dataset", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--title", default="Finding defects with vision-language models", help="the report's title")
    parser.add_argument("--failures", type=int, default=4, metavar="N", help="mistakes of each kind shown; default: 4")
    parser.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """Write the report.

    Returns:
        0.

    Raises:
        StoreError: If there are no results, or the file can't be written.
    """
    from vlmad_core.io import write_atomically
    from vlmad_core.report.content import collect
    from vlmad_core.report.page import render
    from vlmad_core.store.reader import open_stores

    if args.failures < 0:
        raise StoreError("The number of mistakes to show can't be negative.", "Give 0 or more.")
    store = open_stores(args.store)
    content = collect(store, title=args.title, datasets=args.dataset, failures=args.failures)
    page = render(content).encode()
    if args.out.is_dir():
        raise StoreError(f"{args.out} is a folder.", "Name the html file to write.")
    try:
        write_atomically(args.out, page)
    except OSError as error:
        raise StoreError(f"{args.out} can't be written: {error}.", "Choose another place.") from error
    answer = {"file": str(args.out), "bytes": len(page), "sections": len(content.sections)}
    print(json.dumps(answer) if args.json else f"wrote {args.out} ({len(page) / 1e6:.1f} MB)")
    return 0
