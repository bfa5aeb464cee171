"""``python -m vlmad_core train bundled``: render pairs, train, measure the gates, write the model folder."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vlmad_core.datasets.synthetic.pairs import DEFECT_PHRASES, TRAINING_NOUNS
from vlmad_core.training.bundled_clip import Recipe, Trainer
from vlmad_core.training.bundled_model import CONTEXT_LENGTH, new_model, save_model
from vlmad_core.training.captions import all_captions
from vlmad_core.training.gates import measure_gates
from vlmad_core.training.pair_bank import PairBank, build_bank
from vlmad_core.training.tokenizer import train_tokenizer

DEFAULT_FOLDER = Path("checkpoints/bundled")
TRAINING_DATA = "vlmad-synthetic-training"
"""Name of the rendered training pairs, as recorded with the weights."""
PAIRS = 15_000
VALIDATION_PAIRS = 500
SMOKE = {"pairs": 250, "validation": 250, "steps": 8, "pairs_per_batch": 8}
CHECKPOINT_STEPS = 50
LOG_STEPS = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="where the model goes")
    parser.add_argument("--pairs-dir", type=Path, metavar="DIR", help="rendered pairs (default: OUT/pairs)")
    parser.add_argument("--seed", type=int, default=0, help="of rendering, initialisation and batches")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimiser steps")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="rendered pairs to train on")
    parser.add_argument("--smoke", action="store_true", help="a few steps on a few pairs, to try the machinery")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUT")
    parser.add_argument("--json", action="store_true", help="print the report as json")


def run(args: argparse.Namespace) -> int:
    """Train and report; the model folder is complete once ``training.json`` is there."""
    recipe = Recipe(steps=args.steps, seed=args.seed)
    pairs, validation = args.pairs, VALIDATION_PAIRS
    if args.smoke:
        recipe = replace(recipe, steps=SMOKE["steps"], pairs_per_batch=SMOKE["pairs_per_batch"], warmup=2)
        pairs, validation = SMOKE["pairs"], SMOKE["validation"]
    report = train_bundled(args.out, recipe, pairs, validation, args.pairs_dir, resume=args.resume)
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    for name, figures in report["gates"].items():
        print(f"{name:10s} " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    print(f"written to {args.out}")
    return 0


def train_bundled(
    out: Path,
    recipe: Recipe,
    pairs: int,
    validation_pairs: int,
    pairs_folder: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train the bundled CLIP from scratch.

    Args:
        out: The model folder; checkpoints lie in it while training.
        recipe: The recipe.
        pairs: Training pairs to render.
        validation_pairs: Pairs of held-out categories for the gates.
        pairs_folder: Where rendered pairs are kept; ``out/pairs`` if None.
        resume: Whether to go on from a checkpoint in ``out``.

    Returns:
        What ``training.json`` records.
    """
    started = time.monotonic()
    folder = pairs_folder or out / "pairs"
    with _progress() as progress:
        bank = build_bank(folder, pairs, recipe.seed, progress=_follow(progress, "rendering"))
        held_out = build_bank(
            folder, validation_pairs, recipe.seed, validation=True, progress=_follow(progress, "rendering held-out")
        )
        tokenizer = train_tokenizer(all_captions(TRAINING_NOUNS, DEFECT_PHRASES), out, context_length=CONTEXT_LENGTH)
        model = new_model(tokenizer, recipe.seed)
        with tempfile.TemporaryDirectory() as untrained:
            save_model(model, tokenizer, Path(untrained))
            trainer = Trainer(model, tokenizer, bank, DEFECT_PHRASES, recipe)
            _train(trainer, out / "checkpoint.pt", resume, progress)
            save_model(model.eval(), tokenizer, out)
            gates = measure_gates(out, Path(untrained), held_out)
    report = _report(recipe, bank, gates, (time.monotonic() - started) / 60)
    (out / "training.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _train(trainer: Trainer, checkpoint: Path, resume: bool, progress: Progress) -> None:
    if resume and checkpoint.is_file():
        trainer.load(checkpoint)
    steps = trainer.recipe.steps
    task = progress.add_task("training", total=steps, completed=trainer.step)

    def report(step: int, losses: dict[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        progress.update(task, completed=step, description=f"training  {shown}")
        if step % LOG_STEPS == 0 and not progress.console.is_terminal:
            progress.console.print(f"step {step}/{steps}  {shown}")

    while trainer.step < steps:
        trainer.train(min(steps, trainer.step + CHECKPOINT_STEPS), report)
        trainer.save(checkpoint)


def _report(recipe: Recipe, bank: PairBank, gates: dict[str, dict[str, float]], minutes: float) -> dict[str, Any]:
    return {
        "training_data": [TRAINING_DATA],
        "recipe": asdict(recipe),
        "pairs": {
            "count": len(bank),
            "content_hash": bank.content_hash,
            "nouns": sorted(set(bank.nouns)),
            "defects": sorted(set(bank.defects)),
        },
        "gates": gates,
        "minutes": round(minutes, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _follow(progress: Progress, description: str) -> Callable[[int, int], None]:
    task = progress.add_task(description, total=None)

    def follow(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return follow
