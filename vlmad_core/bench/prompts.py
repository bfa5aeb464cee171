"""`bench prompts`: how long it takes from an edit of the words to the new numbers of a whole data set."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, Features, load_backbone
from vlmad_core.backbones.model import ClipConfig, ClipModel, TextTowerConfig, VisionTowerConfig
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.profiling import load_average
from vlmad_core.engine.session import Session
from vlmad_core.metrics.prepared import prepare_masks
from vlmad_core.prompt_lab import (
    EVAL_SIZE,
    LAB_METHODS,
    LabCategory,
    LabData,
    PromptBank,
    category_effects,
    compare_results,
    dataset_effects,
    lab_request,
    load_lab_data,
    score_dataset,
)
from vlmad_core.prompts import PromptEnsemble, load_ensemble

IMAGES = 160
CATEGORIES = 15
GRID = 14
WIDTH = 512
BUDGETS = {"category": 1.0, "dataset": 5.0}
"""Seconds from an edit to the new numbers: a category of 160 images, and 15 of them."""

NEW_STATES = ("scratched {}", "{} with a dent", "discoloured {}", "{} with a mark", "chipped {}")
"""Each measurement adds another one, so that its strings are new to the text tower."""

NEW_TEMPLATES = ("a macro photo of a {}.", "a grey photo of the {}.", "an image of one {}.", "a scan of a {}.", "{}!")


@dataclass(frozen=True)
class EditTiming:
    """What an edit cost; medians over repetitions.

    Attributes:
        case: The features it was measured on.
        edit: What was changed.
        method: Method scored.
        images: Images in all.
        categories: Number of categories.
        strings: New strings that passed the text tower.
        text: Seconds for them.
        scoring: Seconds for image scores, maps, and all image and pixel metrics.
        rest: Seconds for paired differences and for the effects of all phrases.
        total: Seconds from the edit to the numbers.
        cpu: Processor seconds of all threads together; where other programs run, more telling than ``total``.
        budget: Seconds allowed; None where none was set.
    """

    case: str
    edit: str
    method: str
    images: int
    categories: int
    strings: int
    text: float
    scoring: float
    rest: float
    total: float
    cpu: float
    budget: float | None

    @property
    def ok(self) -> bool | None:
        """Whether it kept the budget."""
        return None if self.budget is None else self.total <= self.budget


def made_up_data(categories: int, images: int = IMAGES, grid: int = GRID, width: int = WIDTH) -> LabData:
    """Random features of the size that a ViT-B/16 at 224 pixels gives, with boxes for defects in half of the images.

    Args:
        categories: Number of categories.
        images: Images of each.
        grid: Side of the patch grid.
        width: Width of the joint space.
    """
    found = []
    for number in range(categories):
        generator = torch.Generator().manual_seed(number)
        rng = np.random.default_rng(number)
        masks = np.zeros((images, EVAL_SIZE, EVAL_SIZE), np.bool_)
        for mask in masks[images // 2 :]:
            (top, left), (height, columns) = rng.integers(0, EVAL_SIZE - 60, 2), rng.integers(10, 60, 2)
            mask[top : top + height, left : left + columns] = True
        windows = {k: torch.randn(images, (grid - k + 1) ** 2, width, generator=generator) for k in (2, 3)}
        features = Features(
            (grid, grid),
            image_embedding=torch.randn(images, width, generator=generator),
            patch_embeddings=torch.randn(images, grid * grid, width, generator=generator),
            windows=windows,
        )
        name = f"part {number}"
        ids = tuple(f"{name}/{i}" for i in range(images))
        labels = np.arange(images) >= images // 2
        found.append(LabCategory(name, name, ids, labels, features, prepare_masks(masks), np.arange(images)))
    return LabData("made up", ("made up",), tuple(found))


def large_text_tower(bundled: ClipBackbone) -> ClipBackbone:
    """A backbone whose text tower has the size of ViT-B/16's (12 blocks, 512 wide), with random weights."""
    text = TextTowerConfig(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_attention_heads=8, num_hidden_layers=12)
    vision = VisionTowerConfig(hidden_size=64, intermediate_size=64, num_attention_heads=1, num_hidden_layers=1)
    torch.manual_seed(0)
    config = ClipConfig(vision, text, WIDTH)
    info = replace(bundled.info, id="random", title="Random text tower", embed_dim=WIDTH, context_length=77)
    return replace(bundled, model=ClipModel(config).eval(), info=info)


def edits(base: PromptEnsemble) -> Iterator[tuple[str, list[PromptEnsemble]]]:
    """Kinds of edits, with an ensemble for each repetition."""
    states = [replace(base, abnormal_states=(*base.abnormal_states, new)) for new in NEW_STATES]
    yield "one state more", states
    yield "one template more", [replace(base, templates=(*base.templates, new)) for new in NEW_TEMPLATES]
    fewer = [replace(base, templates=base.templates[:k] + base.templates[k + 1 :]) for k in range(len(NEW_STATES))]
    yield "one template less", fewer


def time_edits(
    case: str,
    data: LabData,
    bank: PromptBank,
    base: PromptEnsemble,
    method: str,
    repetitions: int,
    budget: float | None,
    report: Callable[[EditTiming], None],
) -> list[EditTiming]:
    """Measure every kind of edit; the base's prompts must be in the bank.

    Args:
        case: What the data is.
        data: The data set in memory.
        bank: Embeddings of prompts.
        base: What is edited.
        method: One of ``LAB_METHODS``.
        repetitions: Repetitions of each, at most five.
        budget: Seconds allowed.
        report: Told of each timing.
    """
    before = score_dataset(data, base, bank, method)
    found = []
    for name, ensembles in edits(base):
        rows = []
        for ensemble in ensembles[:repetitions]:
            cpu, start = time.process_time(), time.perf_counter()
            result = score_dataset(data, ensemble, bank, method)
            scored = time.perf_counter()
            for metric in ("image_auroc", "pixel_auroc", "aupro_30"):
                compare_results(result, before, metric)
            dataset_effects(data, ensemble, bank)
            category_effects(data.categories[0], ensemble, bank)
            end = time.perf_counter()
            rest = (end - scored, end - start, time.process_time() - cpu)
            rows.append((result.seconds["text"], result.seconds["scoring"], *rest, result.new_prompts))
        text, scoring, rest_, total, spent, strings = (statistics.median(column) for column in zip(*rows, strict=True))
        images = sum(len(category.labels) for category in data.categories)
        numbers = (images, len(data.categories), int(strings), text, scoring, rest_, total, spent, budget)
        found.append(EditTiming(case, name, method, *numbers))
        report(found[-1])
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench prompts``."""
    parser.add_argument("--json", action="store_true", help="print the figures as json")
    parser.add_argument("--repetitions", type=int, default=3, choices=range(1, 6), help="of each edit (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch (default: all)")
    parser.add_argument("--methods", nargs="+", choices=LAB_METHODS, default=list(LAB_METHODS), help="default: both")
    parser.add_argument(
        "--size",
        choices=("full", "smoke"),
        default="full",
        help="full: 15 categories of 160 images, judged; smoke: seconds, not judged",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Returns:
        0, or 1 if a budget was missed at full size.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    full = args.size == "full"
    report = _quiet if args.json else _print
    bundled = load_backbone("bundled")
    base = load_ensemble("winclip")
    timings: list[EditTiming] = []
    everything = made_up_data(CATEGORIES if full else 2, IMAGES if full else 8)
    tower = large_text_tower(bundled)
    first = replace(everything, categories=everything.categories[:1])
    case = f"made up, {GRID} x {GRID} patches, {WIDTH} wide"
    for method in args.methods:
        for data, kind in ((first, "category"), (everything, "dataset")):
            bank = _filled_bank(tower, data, base)
            budget = BUDGETS[kind] if full else None
            timings += time_edits(case, data, bank, base, method, args.repetitions, budget, report)
    del everything, first
    if full:
        request = lab_request(bundled.info, "clip_cpe")
        data = load_lab_data(load_dataset("bundled_a"), Session(bundled), request)
        own = PromptBank(bundled.encode_text_shared)
        timings += time_edits(
            "bundled_a, bundled backbone", data, own, base, "clip_cpe", args.repetitions, None, report
        )
    missed = [timing for timing in timings if timing.ok is False]
    machine: dict[str, Any] = {"machine": platform.machine(), "cpus": os.cpu_count()}
    machine |= {"torch_threads": torch.get_num_threads(), "load": load_average()}
    if args.json:
        rows = [{**asdict(timing), "ok": timing.ok} for timing in timings]
        print(json.dumps({"size": args.size, "machine": machine, "timings": rows, "judged": full}, indent=1))
    else:
        print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
        verdict = f"{len(missed)} of {sum(t.ok is not None for t in timings)} missed" if full else "not judged"
        print(f"Budgets of 1 s for a category of {IMAGES} images and 5 s for {CATEGORIES} of them: {verdict}")
    return 1 if missed else 0


def _filled_bank(backbone: ClipBackbone, data: LabData, base: PromptEnsemble) -> PromptBank:
    """A bank that knows the base's prompts (with random embeddings: only edits are measured) and embeds all others."""
    known: list[Sequence[str]] = []

    def encode(prompts: Sequence[str]) -> Tensor:
        if not known:
            known.append(prompts)
            return torch.randn(len(prompts), WIDTH, generator=torch.Generator().manual_seed(1))
        return backbone.encode_text_shared(prompts)

    bank = PromptBank(encode)
    nouns = [category.noun for category in data.categories]
    bank.embed([prompt for noun in nouns for prompt in (*base.normal_prompts(noun), *base.abnormal_prompts(noun))])
    return bank


def _quiet(timing: EditTiming) -> None:
    """Report nothing."""


def _print(timing: EditTiming) -> None:
    verdict = "" if timing.ok is None else f"  budget {timing.budget:g} s: {'met' if timing.ok else 'MISSED'}"
    print(
        f"{timing.case}, {timing.method}, {timing.categories} x {timing.images // timing.categories} images, "
        f"{timing.edit}: {timing.total:.2f} s (text {timing.text:.2f} for {timing.strings} strings, scores and metrics "
        f"{timing.scoring:.2f}, differences and effects {timing.rest:.2f}; processor {timing.cpu:.2f}){verdict}",
        flush=True,
    )
