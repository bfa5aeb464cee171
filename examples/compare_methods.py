"""Compare methods on a data set, and print what a leaderboard says of them.

python examples/compare_methods.py                 # a sample of the bundled data
python examples/compare_methods.py --dataset PATH  # a folder in a layout the program knows
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.cli import main as vlmad
from vlmad_core.store.reader import open_store

METRICS = ("image_auroc", "pixel_auroc")


def main(arguments: list[str] | None = None) -> None:
    """Compute what is not there yet, then print means over categories with their intervals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="bundled_a", help="a name or a folder (default bundled_a)")
    parser.add_argument("--categories", nargs="+", default=[], help="only these (default all)")
    parser.add_argument("--store", type=Path, default=Path("example_results"), help="where results are kept")
    given = parser.parse_args(arguments)

    # The same words as on the command line; started again, it computes only what is missing.
    words = ["--dataset", given.dataset, "--method", "clip_cpe", "patch_memory", "--shots", "0", "4", "--size", "smoke"]
    some = ["--categories", *given.categories] if given.categories else []
    code = vlmad(["precompute", *words, *some, "--store", str(given.store), "--latency", "0"])
    if code:
        raise SystemExit(code)

    board = leaderboard(open_store(given.store), METRICS)
    for row in board.to_dict("records"):
        interval = f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        said = row["reason"] or interval  # what has no value has a reason
        print(f"{row['metric']:<12} {row['title']}, {row['shots']} shots: {said}")


if __name__ == "__main__":
    main()
