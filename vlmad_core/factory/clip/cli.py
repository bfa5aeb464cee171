"""``python -m vlmad_core train bundled``: make views, train, measure the gates, write the model folder."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vlmad_core.backbones.arithmetic import choose_precision
from vlmad_core.backbones.info import precisions_on
from vlmad_core.backbones.teacher import TEACHER_NAME, load_teacher
from vlmad_core.factory.clip.captions import all_captions
from vlmad_core.factory.clip.gates import build_bank, measure_gates
from vlmad_core.factory.clip.model import CONTEXT_LENGTH, load_model, new_model, save_model, train_tokenizer
from vlmad_core.factory.clip.recipe import Recipe
from vlmad_core.factory.clip.trainer import Trainer
from vlmad_core.factory.clip.view_bank import PatchTeacher, build_views
from vlmad_core.factory.renderer.pairs import DEFECT_PHRASES, TRAINING_NOUNS
from vlmad_core.paths import training_folder

TRAINING_DATA = "vlmad-synthetic-training"
"""Name of the rendered training pairs, as recorded with the weights."""
TEACHER_INPUT = 256
"""Side at which the teacher reads a view."""
IMAGENET_TEACHER = partial(load_teacher, TEACHER_INPUT)
CHECKPOINT_STEPS = 100
LOG_STEPS = 25


@dataclass(frozen=True)
class Collection:
    """How many pictures a training is made of.

    Attributes:
        pairs: Rendered pairs with captions.
        generic: Generic pictures.
        described: Pairs of inventions beside these, which the teacher does not see.
        validation: Pairs of held-out categories, for the gates.
    """

    pairs: int = 7_168
    generic: int = 6_144
    described: int = 14_720
    validation: int = 500


SMOKE = Collection(pairs=64, generic=192, described=64, validation=250)
SMOKE_RECIPE = Recipe(
    distil_steps=4,
    caption_steps=4,
    refine_steps=2,
    views_per_step=8,
    pairs_per_step=4,
    described_per_step=2,
    free_per_step=2,
    warmup=2,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=training_folder() / "bundled", metavar="DIR", help="where the model goes"
    )
    parser.add_argument("--views-dir", type=Path, metavar="DIR", help="training views (default: OUT/views)")
    parser.add_argument("--seed", type=int, default=0, help="of pictures, initialisation and batches")
    parser.add_argument(
        "--steps",
        type=int,
        nargs=3,
        default=(Recipe.distil_steps, Recipe.caption_steps, Recipe.refine_steps),
        metavar=("DISTIL", "CAPTIONS", "REFINE"),
        help="optimiser steps of the three phases",
    )
    parser.add_argument("--pairs", type=int, default=Collection.pairs, help="rendered pairs to train on")
    parser.add_argument("--generic", type=int, default=Collection.generic, help="generic pictures to train on")
    parser.add_argument(
        "--described", type=int, default=Collection.described, help="pairs that the teacher does not see beside these"
    )
    parser.add_argument(
        "--views-seed", type=int, metavar="N", help="of the pictures, if they are to differ from --seed"
    )
    parser.add_argument(
        "--anchor", type=float, default=Recipe.anchor_weight, metavar="W", help="weight of the teacher beside captions"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", *precisions_on("cpu")),
        default="auto",
        help="of matrix products (default: what is measured to be quicker here); --resume goes on in the first one's",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that make views (default: all processors)")
    parser.add_argument("--smoke", action="store_true", help="a few steps on a few views, to try the machinery")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="refine this model (a folder, or 'bundled') instead of training a new one: DISTIL and CAPTIONS become 0",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUT")
    parser.add_argument("--json", action="store_true", help="print the report as json")


def run(args: argparse.Namespace) -> int:
    """Train and report; the model folder is complete once ``training.json`` is there."""
    distil, captions, refine = args.steps
    recipe = Recipe(distil_steps=distil, caption_steps=captions, refine_steps=refine)
    collection = Collection(args.pairs, args.generic, args.described)
    if args.smoke:
        recipe, collection = SMOKE_RECIPE, SMOKE
    precision = choose_precision(args.precision)
    recipe = replace(recipe, seed=args.seed, anchor_weight=args.anchor, precision=precision)
    if args.start:
        recipe = replace(recipe, distil_steps=0, caption_steps=0)
    views_seed = args.seed if args.views_seed is None else args.views_seed
    report = train_bundled(
        args.out,
        recipe,
        collection,
        args.views_dir,
        views_seed,
        teacher=IMAGENET_TEACHER,
        start=args.start,
        workers=args.workers,
        resume=args.resume,
    )
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
    collection: Collection,
    views_folder: Path | None = None,
    views_seed: int = 0,
    *,
    teacher: Callable[[], PatchTeacher],
    start: Path | None = None,
    workers: int | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train the bundled CLIP, from scratch or on from an earlier one.

    Args:
        out: The model folder; checkpoints lie in it while training.
        recipe: The recipe.
        collection: How many pictures of each kind.
        views_folder: Where training views are kept; ``out/views`` if None.
        views_seed: Seed of all pictures.
        teacher: Gives the teacher; importable, since it is called in other processes too.
        start: The model to go on from, ``bundled`` or a folder of the bundled CLIP's form; a new one if None.
        workers: Processes that make views; all processors if None.
        resume: Whether to go on from a checkpoint in ``out``.

    Returns:
        What ``training.json`` records.

    Raises:
        BackboneError: If the teacher's package is missing.
    """
    started = time.monotonic()
    folder = views_folder or out / "views"
    out.mkdir(parents=True, exist_ok=True)
    with _progress() as progress:
        bank = build_views(
            folder,
            collection.pairs,
            collection.generic,
            collection.described,
            views_seed,
            teacher,
            recipe.precision,
            workers,
            _follow(progress, "making views"),
        )
        held_out = build_bank(
            folder, collection.validation, views_seed, workers, progress=_follow(progress, "rendering held-out")
        )
        before = None
        if start is None:
            texts = all_captions(TRAINING_NOUNS, DEFECT_PHRASES)
            tokenizer = train_tokenizer(texts, out, context_length=CONTEXT_LENGTH)
            model = new_model(tokenizer, recipe.seed)
        else:
            model, tokenizer, before = load_model(start)
        made = time.monotonic()
        with tempfile.TemporaryDirectory() as untrained:
            save_model(new_model(tokenizer, recipe.seed), tokenizer, Path(untrained))
            trainer = Trainer(model, tokenizer, bank, DEFECT_PHRASES, recipe)
            _train(trainer, out / "checkpoint.pt", resume, progress)
            save_model(model.eval(), tokenizer, out)
            trained = time.monotonic()
            gates = measure_gates(out, Path(untrained), held_out)
    measured = time.monotonic()
    report = {
        "training_data": [TRAINING_DATA],
        "started_from": before,
        "teacher": {"name": TEACHER_NAME, "content_hash": teacher().content_hash, "data": "ImageNet-1k"},
        "recipe": asdict(trainer.recipe),
        "views": {
            "count": len(bank),
            "pairs": len(bank.pairs),
            "described_only": len(bank.pairs) - bank.taught,
            "without_captions": len(bank.free),
            "seed": views_seed,
            "precision": sorted(set(bank.precisions)),
            "content_hash": bank.content_hash,
            "nouns": sorted(set(bank.nouns)),
            "defects": sorted(set(bank.defects)),
        },
        "gates": gates,
        "minutes": {
            "views": round((made - started) / 60, 1),
            "training": round((trained - made) / 60, 1),
            "gates": round((measured - trained) / 60, 1),
        },
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
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


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _follow(progress: Progress, description: str) -> Callable[[int, int], None]:
    task = progress.add_task(description, total=None)

    def follow(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return follow
