"""``train april_gan`` and ``train anomaly_clip``: arguments, progress, files, resuming, what each method fits."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from vlmad_core import paths
from vlmad_core.backbones import ClipBackbone, FeatureRequest, load_backbone
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.errors import MethodError
from vlmad_core.io import TEMPORARY_PREFIX, make_folder
from vlmad_core.methods import create_method, method_class
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.methods.april_gan import AprilGan
from vlmad_core.methods.trained import TrainingRecord
from vlmad_core.prompts.ensemble import load_ensemble
from vlmad_core.prompts.prototypes import embed_ensemble
from vlmad_core.training import loop
from vlmad_core.training.frozen_features import (
    FrozenFeatures,
    Reading,
    TrainingImages,
    extract_once,
    list_training_images,
)
from vlmad_core.training.objectives import (
    CONTEXT_LENGTH,
    DEEP_LENGTH,
    MAP_WEIGHT,
    MOSAIC_SHARE,
    ProjectionObjective,
    PromptObjective,
    image_and_patches,
    own_temperature,
    stage_tokens,
)

RANGES: Mapping[str, tuple[float, float]] = {"mosaic": (0, 1), "context_length": (1, 64)}
"""Least and most of the numbers that only some methods take."""

LONG_EPOCHS = 15
SHORT_SETS, SHORT_EPOCHS = ("mvtec_ad",), 3
"""The authors of APRIL-GAN train 3 epochs on MVTec AD and 15 on VisA; 15 is the default for all others."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of both commands."""
    defaults = loop.Optimisation()
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="NAME", help="data sets whose test splits are trained on"
    )
    parser.add_argument("--backbone", metavar="ID", help="bundled, a hub id or a folder (default: bundled)")
    parser.add_argument(
        "--mode",
        choices=("matched", "as_published"),
        default="matched",
        help="as_published: the authors' backbone (unless given), input size, activation and position rule",
    )
    parser.add_argument("--preset", default="canonical", help="preset of the method whose settings are trained for")
    parser.add_argument("--tokenizer", metavar="ID", help="hub id or folder, for checkpoints that bring none")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="where the vision tower computes, e.g. cuda")
    parser.add_argument(
        "--out",
        type=Path,
        default=paths.training_folder(),
        metavar="DIR",
        help="where parameters go (default: checkpoints, where every command and the live demo find them)",
    )
    parser.add_argument("--epochs", type=int, help="passes over the training images (default: the authors')")
    parser.add_argument("--lr", type=float, default=defaults.learning_rate, help="learning rate")
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size, help="images per step")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of start values, order and augmentation")
    parser.add_argument("--resume", action="store_true", help="go on after an interruption")
    parser.add_argument("--json", action="store_true", help="print the record as json")


@dataclass
class TrainingSession:
    """One training, from its data sets to its files.

    Attributes:
        method: Name of the method.
        backbone: The frozen backbone.
        data: Canonical names of the data sets.
        images: The training images.
        plan: How parameters are fitted.
        args: The command's arguments.
        bars: The progress bars.
    """

    method: str
    backbone: ClipBackbone
    data: tuple[str, ...]
    images: TrainingImages
    plan: loop.Optimisation
    args: argparse.Namespace
    bars: Progress

    @property
    def path(self) -> Path:
        """Where the parameters go."""
        return paths.parameters_file(self.method, self.data, self.backbone.info.weights_hash, self.args.out)

    def extract(self, request: FeatureRequest, reading: Reading) -> AbstractContextManager[FrozenFeatures]:
        """Features of all training images, with a progress bar."""
        task = self.bars.add_task("features", total=len(self.images.samples), loss="")
        return extract_once(
            self.backbone,
            self.images,
            request,
            reading,
            advance=lambda count: self.bars.update(task, advance=count),
        )

    def fit(
        self,
        objective: loop.Objective,
        settings: Mapping[str, Any],
        extras: Mapping[str, Any],
        fixed: Mapping[str, Tensor] | None = None,
    ) -> int:
        """Train, save after each epoch, write parameters and record.

        Args:
            objective: What is minimised.
            settings: Settings of the method that shape the parameters, for the record.
            extras: Hyperparameters beside the optimiser's, for the record.
            fixed: Tensors stored beside the trained ones, so that a method can tell what they are for.

        Returns:
            The command's exit code.
        """
        record = TrainingRecord(
            method=self.method,
            training_data=self.data,
            backbone=self.backbone.info.to_json(),
            settings={"preset": self.args.preset, **settings},
            hyperparameters={**self.plan.to_json(), **extras},
            images=self.images.counts(),
        )
        plan = loop.fingerprint(record)
        unfinished = loop.resume_path(self.path)
        state = loop.load_progress(unfinished, plan) if self.args.resume else None
        state = state or loop.start(objective, self.plan)
        done = len(state.losses)
        steps = -(-len(objective) // self.plan.batch_size)
        task = self.bars.add_task("training", total=self.plan.epochs * steps, completed=done * steps, loss="")
        started = time.perf_counter()

        def epoch_done(progress: loop.Progress) -> None:
            loop.save_progress(unfinished, progress, plan)
            self.bars.update(task, description=f"training, epoch {len(progress.losses)}/{self.plan.epochs} done")

        state = loop.fit(objective, self.plan, state, epoch_done, lambda loss: self._step(task, loss))
        record = TrainingRecord(**{**record.__dict__, "losses": tuple(state.losses)})
        loop.save_parameters(self.path, {**state.parameters, **(fixed or {})}, record)
        unfinished.unlink(missing_ok=True)
        self._report(record, time.perf_counter() - started, done)
        return 0

    def _step(self, task: TaskID, loss: float) -> None:
        self.bars.update(task, advance=1, loss=f"loss {loss:.4f}")

    def _report(self, record: TrainingRecord, seconds: float, resumed_after: int) -> None:
        if self.args.json:
            shown = {
                "parameters": str(self.path),
                "training_seconds": seconds,
                "resumed_after_epoch": resumed_after or None,
                "left_out": list(self.images.problems),
            }
            print(json.dumps({**shown, **record.to_json()}, indent=2))
            return
        for problem in self.images.problems:
            print(f"left out: {problem}", file=sys.stderr)
        names = ", ".join(self.data)
        print(f"{len(self.images.samples)} images of {names}; {len(record.losses)} epochs in {seconds:.0f} s")
        if record.losses:
            print(f"mean loss {record.losses[0]:.4f} in the first epoch, {record.losses[-1]:.4f} in the last")
        print(f"parameters: {self.path}")


@contextmanager
def _prepare(
    args: argparse.Namespace, method: str, short_sets: tuple[str, ...] = (), short_epochs: int = LONG_EPOCHS
) -> Iterator[TrainingSession]:
    """Load data and backbone, and show progress while the context lasts.

    Args:
        args: See ``_add_arguments``.
        method: Name of the method.
        short_sets: Data sets on which the authors train ``short_epochs`` epochs.
        short_epochs: That number.

    Raises:
        MethodError: If a data set is given twice, or a number is out of range.
        VlmadError: If a data set or the backbone can't be loaded.
    """
    _check(args)
    images = list_training_images([load_dataset(name) for name in args.data])
    data = tuple(dict.fromkeys(name for name, _ in images.categories))
    if len(data) < len(args.data):
        raise MethodError(f"--data {' '.join(args.data)} names a data set twice.", "Name each once.")
    short = set(data) <= set(short_sets)
    epochs = args.epochs if args.epochs is not None else (short_epochs if short else LONG_EPOCHS)
    plan = loop.Optimisation(epochs, args.batch_size, args.lr, seed=args.seed)
    backbone = _load_backbone(args, method)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield TrainingSession(method, backbone, data, images, plan, args, bars)


def _check(args: argparse.Namespace) -> None:
    """See that what follows a long reading of images can be done: numbers in range, a folder to write to.

    Raises:
        MethodError: If not.
    """
    for name, (least, most) in RANGES.items():
        value = getattr(args, name, None)
        if value is not None and not least <= value <= most:
            raise MethodError(
                f"--{name.replace('_', '-')} is {str(value)[:40]}.", f"Give a number from {least} to {most}."
            )
    try:
        make_folder(args.out)
        with tempfile.TemporaryFile(prefix=TEMPORARY_PREFIX, dir=args.out):
            pass
    except OSError as error:
        raise MethodError(
            f"{str(args.out)[:200]} can't be written to: {error.strerror}.", "Name another --out."
        ) from error


def _load_backbone(args: argparse.Namespace, method: str) -> ClipBackbone:
    options: dict[str, Any] = {"tokenizer": args.tokenizer} if args.tokenizer else {}
    options["device"] = args.device
    if args.mode == "matched":
        return load_backbone(args.backbone or "bundled", **options)
    published = method_class(method).published
    assert published is not None  # both methods that train have one
    return load_backbone(
        args.backbone or published.backbone,
        image_size=published.image_size,
        activation=published.activation_for(args.backbone or published.backbone),
        position_rule=published.position_rule,
        **options,
    )


def _april_gan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    _add_arguments(parser)
    parser.add_argument(
        "--mosaic",
        type=float,
        help=f"share of samples replaced by a mosaic of four (default: {MOSAIC_SHARE} on MVTec AD, else 0)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        help="divides the difference of cosines, in training and afterwards (default: the backbone's own, "
        "1 / exp(logit_scale): 0.01 for OpenAI's weights, as in the authors' code)",
    )


def _train_april_gan(args: argparse.Namespace) -> int:
    """Train, and write parameters and record."""
    with _prepare(args, "april_gan", SHORT_SETS, SHORT_EPOCHS) as session:
        backbone, images = session.backbone, session.images
        temperature = args.temperature if args.temperature is not None else own_temperature(backbone)
        method = create_method(f"april_gan:{args.preset}", temperature=temperature)
        assert isinstance(method, AprilGan)
        stages = method.stages(backbone.info)
        short = set(session.data) <= set(SHORT_SETS)
        share = args.mosaic if args.mosaic is not None else (MOSAIC_SHARE if short else 0.0)
        ensemble, rule = load_ensemble(method.settings.ensemble), method.settings.text_average
        nouns = [category_noun(category, method.settings.name_table) for _, category in images.categories]
        prototypes = torch.stack([embed_ensemble(backbone, ensemble, noun, rule).prototypes for noun in nouns]).cpu()
        request = FeatureRequest(stages=frozenset(stages))
        with session.extract(request, partial(stage_tokens, stages=stages)) as frozen:
            objective = ProjectionObjective(backbone, images, frozen, prototypes, stages, temperature, share)
            settings = {
                "stages": list(stages),
                "name_table": method.settings.name_table,
                "temperature": temperature,
                **method.prompt_record(),
            }
            extras = {"mosaic": share, "loss": "focal + dice, summed over the stages"}
            fixed = {
                "stages": torch.tensor(stages),
                "temperature": torch.tensor(temperature, dtype=torch.float64),
            }
            return session.fit(objective, settings, extras, fixed)


def _anomaly_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    _add_arguments(parser)
    parser.add_argument(
        "--context-length", type=int, default=CONTEXT_LENGTH, metavar="N", help="learned vectors of each prompt"
    )


def _train_anomaly_clip(args: argparse.Namespace) -> int:
    """Train, and write parameters and record."""
    with _prepare(args, "anomaly_clip") as session:
        method = create_method(f"anomaly_clip:{args.preset}")
        assert isinstance(method, AnomalyClip)
        backbone = session.backbone
        reading = partial(image_and_patches, method=method, backbone=backbone)
        with session.extract(method.needs(backbone.info, shots=0), reading) as frozen:
            objective = PromptObjective(backbone, method, session.images, frozen, args.context_length)
            settings = {
                "normal_words": method.settings.normal_words,
                "abnormal_words": method.settings.abnormal_words,
                "temperature": method.settings.temperature,
                "value_paths": [list(path) for path in method.value_paths(backbone.info)],
            }
            extras = {
                "context_length": args.context_length,
                "deep_length": DEEP_LENGTH,
                "loss": f"cross-entropy + {MAP_WEIGHT} x (focal + dice abnormal + dice normal)",
            }
            return session.fit(objective, settings, extras)


@dataclass(frozen=True)
class TrainCommand:
    """The command of one method.

    Attributes:
        add_arguments: Adds its arguments to a parser.
        run: Trains, and writes parameters and record; returns the exit code.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


april_gan = TrainCommand(_april_gan_arguments, _train_april_gan)
anomaly_clip = TrainCommand(_anomaly_clip_arguments, _train_anomaly_clip)
