"""`bench methods`: what each method costs alone on this machine, on any backbone, with random weights if need be."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import Features, concatenate_features
from vlmad_core.backbones.arithmetic import LEAST_GAIN, product_gain, product_speed
from vlmad_core.backbones.feature_cache import image_input
from vlmad_core.backbones.info import Precision, default_batch_size, precisions_on
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.backbones.tower import Backbone
from vlmad_core.bench.architectures import ARCHITECTURES, PREFIX, bench_backbone, random_parameters
from vlmad_core.datasets import Dataset, load_dataset
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.splits import draw_references
from vlmad_core.engine.profiling import load_average
from vlmad_core.engine.provenance import hardware, package_versions
from vlmad_core.engine.session import Entrant, Session
from vlmad_core.engine.speed import Subject, measure_speed, stages_alone
from vlmad_core.errors import VlmadError
from vlmad_core.methods import Method, create_method, list_methods
from vlmad_core.methods.plugins import add_plugin_argument, use_plugins
from vlmad_core.methods.trained import find_parameters, load_parameters

BUSY = 0.8
"""Load per core above which other programs are taken to disturb the measurement."""


@dataclass(frozen=True)
class Request:
    """What is to be timed.

    Attributes:
        backbones: As ``bench_backbone`` takes them.
        methods: Identifiers.
        shots: Numbers of references; combinations that make no sense are left out with the reason.
        dataset: Where images come from.
        category: Of the data set; None for the first.
        images: Timed one by one.
        batch: Passed together; None for the backbone's own.
        precisions: Arithmetics; None for float32, and bfloat16 where its products are quicker.
        image_size: Side of the input; None for each backbone's own.
    """

    backbones: tuple[str, ...] = ("bundled",)
    methods: tuple[str, ...] = ()
    shots: tuple[int, ...] = (0, 1)
    dataset: str = "bundled_a"
    category: str | None = None
    images: int = 20
    batch: int | None = None
    precisions: tuple[Precision, ...] | None = None
    image_size: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    known = ", ".join(PREFIX + name for name in ARCHITECTURES)
    parser.add_argument(
        "--backbone",
        nargs="+",
        default=["bundled"],
        metavar="ID",
        help=f"bundled, a folder, a hub id, or a true architecture with random weights: {known}",
    )
    parser.add_argument("--method", nargs="+", metavar="M", help="name or name:preset (default: all)")
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 1], metavar="K", help="references (default 0 1)")
    parser.add_argument("--dataset", default="bundled_a", metavar="NAME|PATH", help="where images come from")
    parser.add_argument("--category", metavar="NAME", help="of the data set (default: the first)")
    parser.add_argument("--images", type=int, default=20, metavar="N", help="timed one by one (default 20)")
    parser.add_argument("--batch", type=int, metavar="N", help="passed together (default: by the backbone's size)")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=precisions_on("cpu"),
        help="default: float32, and bfloat16 where matrix products are quicker with it",
    )
    parser.add_argument("--image-size", type=int, metavar="S", help="side of the input (default: each backbone's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch (default: all)")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Time the methods.

    Returns:
        0; 1 if nothing could be timed.
    """
    use_plugins(args.plugin)
    if min(args.images, args.batch or 1, args.threads or 1) < 1 or min(args.shots) < 0:
        raise VlmadError("Images, batch and threads are counted from 1, shots from 0.", "Give larger numbers.")
    request = Request(
        backbones=tuple(args.backbone),
        methods=tuple(args.method or list_methods()),
        shots=tuple(args.shots),
        dataset=args.dataset,
        category=args.category,
        images=args.images,
        batch=args.batch,
        precisions=tuple(args.precision) if args.precision else None,
        image_size=args.image_size,
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(args.threads or threads)
        report = bench(request, None if args.json else print_row)
    finally:
        torch.set_num_threads(threads)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print(closing_text(report))
    return 0 if report["methods"] else 1


def bench(request: Request, on_row: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Time all combinations.

    Args:
        request: What to time.
        on_row: Told each row as soon as it is there.

    Returns:
        Plain values: ``hardware``, ``packages``, ``threads``, ``matmul_flops_per_second`` by precision,
        ``backbones``, ``methods`` (rows as ``measure_speed`` gives them, with what they are of), ``left_out``.

    Raises:
        VlmadError: If the data set, a method or a backbone can't be had.
    """
    dataset = load_dataset(request.dataset)
    category = request.category or dataset.categories[0]
    methods = [create_method(identifier) for identifier in request.methods]
    speeds = {precision: round(product_speed(precision)) for precision in precisions_on("cpu")}
    precisions, notes = _precisions(request)
    report: dict[str, Any] = {
        "hardware": dict(hardware()),
        "packages": package_versions(),
        "threads": torch.get_num_threads(),
        "load_average": load_average(),
        "matmul_flops_per_second": speeds,
        "dataset": dataset.name,
        "category": category,
        "backbones": [],
        "methods": [],
        "left_out": [{"what": "bfloat16", "reason": note} for note in notes],
    }
    for name in request.backbones:
        for precision in precisions:
            backbone = bench_backbone(name, precision, request.image_size)
            report["backbones"].append(backbone.info.to_json())
            for row in _rows(request, backbone, methods, dataset, category, report["left_out"]):
                report["methods"].append(row)
                if on_row is not None:
                    on_row(row)
    return report


def print_row(row: dict[str, Any]) -> None:
    """One method as a line."""
    one, many = row["batch_1"], row["batch_n"]
    latency = "       – (no single image)"
    if one:
        latency = f"{one['median_ms']:8.1f} ms (p95 {one['p95_ms']:.1f}, processor {one['processor_ms']:.1f})"
    stages = ", ".join(f"{name} {row['stages_ms'][name]:.1f}" for name in stages_alone() if name in row["stages_ms"])
    print(
        f"{row['title']:<24} {row['shots']} shots  {row['backbone']} {row['precision']}\n"
        f"  batch 1 {latency}; batch {many['batch']} {many['images_per_second']:.2f} images/s; "
        f"{row['flops_per_image'] / 1e9:.2f} GFLOP an image, {_percent(row['peak_share'])} of the product peak; "
        f"memory {_megabytes(row['peak_rss_bytes'])} MB (+{_megabytes(row['extra_rss_bytes'])})\n"
        f"  ms by stage: {stages}" + (f"; text {row['text_ms']:.0f} once" if row["text_ms"] is not None else "")
    )


def closing_text(report: dict[str, Any]) -> str:
    """What the figures were measured on."""
    machine = report["hardware"]
    speeds = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in report["matmul_flops_per_second"].items())
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {report['threads']} threads; "
        f"matrix products in GFLOP/s: {speeds}",
        "Medians after warm-up, one method alone, from file to map; operations of matrix products, attention included.",
    ]
    load = report["load_average"]
    if load > BUSY * machine["cores"]:
        lines.append(
            f"The machine was busy (load {load:g} on {machine['cores']} cores): times on the clock are too long."
        )
    lines += [f"left out: {item['what']}: {item['reason']}" for item in report["left_out"]]
    return "\n".join(lines)


def _precisions(request: Request) -> tuple[tuple[Precision, ...], list[str]]:
    if request.precisions is not None:
        return request.precisions, []
    gain = product_gain("bfloat16")
    if gain >= LEAST_GAIN:
        return ("float32", "bfloat16"), []
    return ("float32",), [f"its matrix products run at {gain:.2f} times the speed of float32 here."]


def _rows(
    request: Request,
    backbone: Backbone,
    methods: Sequence[Method],
    dataset: Dataset,
    category: str,
    left_out: list[dict[str, str]],
) -> Iterator[dict[str, Any]]:
    """Figures of each method and number of references on one backbone."""
    files = [sample.image_path for sample in dataset.select(category, "test")]
    for method in methods:
        for shots in request.shots:
            reason = method.why_not_applicable(shots)
            if reason is None:
                try:
                    own = _own_backbone(method, backbone, request)
                    reason = method.why_not_on(own.info)
                    subject = None if reason else _subject(method, shots, own, dataset, category)
                except VlmadError as error:
                    reason = str(error)
            if reason is not None or subject is None:
                item = {"what": f"{method.id} with {shots} shots", "reason": str(reason)}
                left_out += [item] if item not in left_out else []
                continue
            batch = request.batch or default_batch_size(subject.backbone.info)
            figures = measure_speed(subject, files, images=request.images, batch=batch)
            yield {
                "method": method.name,
                "preset": method.preset,
                "title": method.title(shots),
                "shots": shots,
                "backbone": subject.backbone.info.id,
                "image_size": subject.backbone.info.image_size,
                **figures,
            }


def _own_backbone(method: Method, backbone: Backbone, request: Request) -> Backbone:
    """The backbone a method brings along, or the one that is timed."""
    if method.own_backbone is None:
        return backbone
    return BackboneSpec(method.own_backbone, image_size=request.image_size).load()


def _subject(method: Method, shots: int, backbone: Backbone, dataset: Dataset, category: str) -> Subject:
    drawn: Features | None = None
    further = method.calibration_images(shots) if shots else 0
    if shots:
        chosen = draw_references(dataset.select(category, "train"), shots + further, seed=0)
        request = method.needs(backbone.info, shots)
        images = (image_input(sample.image_path, backbone, request) for sample in chosen)
        drawn = concatenate_features(Session(backbone).encode(images, request))
    noun = category_noun(category, method.settings.name_table)
    entrant = Entrant(method.id, method, noun, shots, _parameters(method, backbone, dataset))
    return Subject(entrant, backbone, drawn)


def _parameters(method: Method, backbone: Backbone, dataset: Dataset) -> dict[str, Tensor] | None:
    """Trained parameters where there are some that fit, else random ones of the same shapes."""
    if not method.capabilities.trained:
        return None
    path = find_parameters(method.name, backbone.info, dataset.official or dataset.name)
    if path is not None:
        return load_parameters(path, method.name, backbone.info)[0]
    return random_parameters(method, backbone)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}%"


def _megabytes(count: int | None) -> str:
    return "–" if count is None else f"{count / 2**20:.0f}"
