"""`bench methods`: what each method costs alone on this machine, on any backbone, with random weights if need be.

On a graphics card, and without naming a backbone, it is the whole prepared check of it (see ``card``).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vlmad_core.backbones.arithmetic import CPU, LEAST_GAIN, product_gain
from vlmad_core.backbones.devices import resolve_device
from vlmad_core.backbones.info import PRECISIONS, Precision, precisions_on
from vlmad_core.bench import beside_anomalib, card
from vlmad_core.bench.alone import Row, measure_alone, peak_speeds
from vlmad_core.bench.architectures import ARCHITECTURES, PREFIX, bench_backbone
from vlmad_core.bench.subjects import Scene, make_subject
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.profiling import load_average
from vlmad_core.engine.provenance import hardware, package_versions
from vlmad_core.engine.speed import SpeedBook, stages_alone
from vlmad_core.errors import VlmadError
from vlmad_core.methods import create_method, list_methods
from vlmad_core.methods.plugins import add_plugin_argument, use_plugins
from vlmad_core.paths import store_root
from vlmad_core.store.benches import keep_bench
from vlmad_core.store.schema import SCHEMA_VERSION
from vlmad_core.store.writer import now

BUSY = 0.8
"""Load per core above which other programs are taken to disturb the measurement."""

CARD_MINUTES, COMMAND_SECONDS = 3.6, 45.0
"""Time for the check of a card, after which nothing further is begun, and how much of it is left to its last part."""


@dataclass(frozen=True)
class Request:
    """What is to be timed.

    Attributes:
        backbones: As ``bench_backbone`` takes them, each with the arithmetics to try; None for float32, and bfloat16
            where its products are quicker.
        methods: Identifiers.
        shots: Numbers of references; combinations that make no sense are left out with the reason.
        dataset: Where images come from.
        category: Of the data set; None for the first.
        images: Timed one by one.
        batches: Sizes to try; None for some up to the backbone's own.
        image_size: Side of the input; None for each backbone's own.
        device: Where all is computed.
        compiled: Whether windows are timed in their compiled form as well, where that is open.
        until: Time (``time.monotonic``) after which nothing further is begun.
        command: As it was typed.
    """

    backbones: tuple[tuple[str, tuple[Precision, ...] | None], ...] = (("bundled", None),)
    methods: tuple[str, ...] = ()
    shots: tuple[int, ...] = (0, 4)
    dataset: str = "bundled_a"
    category: str | None = None
    images: int = 20
    batches: tuple[int, ...] | None = None
    image_size: int | None = None
    device: torch.device = CPU
    compiled: bool = False
    until: float = float("inf")
    command: str = "python -m vlmad_core bench methods"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    known = ", ".join(PREFIX + name for name in ARCHITECTURES)
    parser.add_argument(
        "--backbone",
        nargs="+",
        metavar="ID",
        help=f"bundled, a folder, a hub id, or a true architecture with random weights: {known} (default: bundled; on "
        "a card its prepared check, with ViT-B/16+ and ViT-L/14 at 336 and 518)",
    )
    parser.add_argument("--method", nargs="+", metavar="M", help="name or name:preset (default: all)")
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 4], metavar="K", help="references (default 0 4)")
    parser.add_argument("--dataset", default="bundled_a", metavar="NAME|PATH", help="where images come from")
    parser.add_argument("--category", metavar="NAME", help="of the data set (default: the first)")
    parser.add_argument("--images", type=int, metavar="N", help="timed one by one (default 20, on a card 5)")
    parser.add_argument("--batch", nargs="+", type=int, metavar="N", help="passed together; the best counts")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda, ... or auto (default cpu)")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        help="default: float32, and bfloat16 where matrix products are quicker with it",
    )
    parser.add_argument("--image-size", type=int, metavar="S", help="side of the input (default: each backbone's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch (default: all)")
    parser.add_argument(
        "--anomalib-python",
        type=Path,
        metavar="PATH",
        help="Python of another environment with anomalib 2.7.0 and open_clip_torch 2.24.0: its WinCLIP is timed "
        "beside ours on the same random weights, pair by pair; other methods only if --backbone or --method is given",
    )
    parser.add_argument("--compile", action="store_true", help="time WinCLIP's windows in their compiled form as well")
    parser.add_argument("--keep", action="store_true", help="keep the figures in the results folder, for Efficiency")
    parser.add_argument("--minutes", type=float, metavar="M", help=f"begin nothing later (on a card {CARD_MINUTES:g})")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Time the methods.

    Returns:
        0; 1 if nothing could be timed, or a card or anomalib does not compute the same.
    """
    use_plugins(args.plugin)
    begun = time.monotonic()
    counts = [count for count in (args.images, args.threads, *(args.batch or ())) if count is not None]
    if min(counts, default=1) < 1 or min(args.shots) < 0:
        raise VlmadError("Images, batch and threads are counted from 1, shots from 0.", "Give larger numbers.")
    request, prepared = _request(args, begun)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(args.threads or threads)
        only_anomalib = args.anomalib_python is not None and not (args.backbone or args.method)
        tell = None if args.json else print_row
        report = blank_report(request) if only_anomalib else bench(request, tell, prepared=prepared)
        if args.anomalib_python is not None:
            precisions = tuple(args.precision or ("float32", *report["quicker"]))
            report["anomalib"] = beside_anomalib.beside_anomalib(
                args.anomalib_python, request.device, precisions, compiled=args.compile
            )
    finally:
        torch.set_num_threads(threads)
    report |= {"finished_at": now(), "seconds": round(time.monotonic() - begun, 2)}
    if args.keep:
        print(f"kept: {keep_bench(store_root(), report)}", file=sys.stderr)
    print(json.dumps(report, indent=1) if args.json else closing_text(report))
    wrong = any(report.get(part, {}).get("ok") is False for part in ("check", "anomalib"))
    return 1 if wrong or not (report["methods"] or only_anomalib) else 0


def _request(args: argparse.Namespace, begun: float) -> tuple[Request, bool]:
    """What is asked for, and whether it is the prepared check of a card."""
    device = resolve_device(args.device)
    on_card = device.type != "cpu"
    prepared = on_card and not (args.backbone or args.method or args.anomalib_python)
    precisions = tuple(args.precision) if args.precision else None
    named = tuple((name, precisions) for name in args.backbone or ("bundled",))
    minutes = args.minutes or (CARD_MINUTES if on_card else float("inf"))
    return Request(
        backbones=card.backbones(precisions) if prepared else named,
        methods=tuple(args.method or list_methods()),
        shots=tuple(args.shots),
        dataset=args.dataset,
        category=args.category,
        images=args.images or (5 if on_card else 20),
        batches=tuple(args.batch) if args.batch else None,
        image_size=args.image_size,
        device=device,
        compiled=args.compile,
        until=begun + 60 * minutes,
        command=f"python -m vlmad_core bench methods {shlex.join(getattr(args, 'command_line', []))}".strip(),
    ), prepared


def blank_report(request: Request) -> dict[str, Any]:
    """What is known of the machine before anything is timed, and the arithmetics that are quicker than float32."""
    machine = dict(hardware(str(request.device)))
    gains = {name: product_gain(name, device=request.device) for name in precisions_on(request.device.type)[1:]}
    return {
        "schema_version": SCHEMA_VERSION,
        "command": request.command,
        "hardware": machine,
        "machine": " with ".join(filter(None, [str(machine["processor"]), machine.get("accelerator")])),
        "device": str(request.device),
        "packages": package_versions(),
        "threads": torch.get_num_threads(),
        "load_average": load_average(),
        "matmul_flops_per_second": peak_speeds(request.device),
        "quicker": [name for name, gain in gains.items() if gain >= LEAST_GAIN],
        "methods": [],
        "left_out": [
            {"what": name, "reason": f"its matrix products run at {gain:.2f} times the speed of float32 here."}
            for name, gain in gains.items()
            if gain < LEAST_GAIN
        ],
    }


def bench(
    request: Request, on_row: Callable[[dict[str, Any]], None] | None = None, *, prepared: bool = False
) -> dict[str, Any]:
    """Time all combinations.

    Args:
        request: What to time.
        on_row: Told each row as soon as it is there.
        prepared: Whether the card itself is checked as well.

    Returns:
        Plain values: ``hardware``, ``packages``, ``threads``, ``matmul_flops_per_second`` by precision,
        ``backbones``, ``methods`` (rows as ``measure_alone`` gives them, with what they are of), ``left_out``, and of
        a card ``check`` (see ``card.check``).

    Raises:
        VlmadError: If the data set, a method or a backbone can't be had.
    """
    dataset = load_dataset(request.dataset)
    scene = Scene(dataset, request.category or dataset.categories[0])
    report = blank_report(request) | {"dataset": dataset.name, "category": scene.category, "backbones": []}
    whole = request.until
    if prepared:
        report["check"] = card.check(request.device, request.methods, request.shots, scene, whole)
        request = dataclasses.replace(request, until=whole - COMMAND_SECONDS)
    for name, asked in request.backbones:
        for precision in asked or ("float32", *(p for p in report["quicker"] if p == "bfloat16")):
            if time.monotonic() > request.until:
                report["left_out"].append({"what": f"{name} in {precision}", "reason": "Time was up."})
                continue
            for row in _rows(request, name, precision, scene, report):
                report["methods"].append(row)
                if on_row is not None:
                    on_row(row)
    if prepared:
        report["check"]["precompute"] = card.in_time(lambda: card.whole_command(request.device, whole + 10), whole)
    return report


def _rows(
    request: Request, name: str, precision: Precision, scene: Scene, report: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Figures of each method and number of references on one backbone."""
    backbone = bench_backbone(name, precision, request.image_size, request.device)
    report["backbones"].append(backbone.info.to_json())
    peaks = report["matmul_flops_per_second"]
    row = Row(scene.files, request.images, request.batches, peaks, SpeedBook(), {}, request.compiled)
    for identifier in request.methods:
        method = create_method(identifier)
        for shots in request.shots:
            what, reason = f"{method.id} with {shots} shots", "Time was up."
            if time.monotonic() <= request.until:
                subject = make_subject(method, shots, backbone, scene)
                if not isinstance(subject, str):
                    yield measure_alone(subject, row)
                    continue
                reason = subject
            else:
                what += f" on {name} in {precision}"
            item = {"what": what, "reason": reason}
            report["left_out"] += [item] if item not in report["left_out"] else []


def print_row(row: dict[str, Any]) -> None:
    """One method as a line."""
    one, many = row["batch_1"], row["batch_n"]
    latency = "       – (no single image)"
    if one:
        latency = f"{one['median_ms']:8.1f} ms (p95 {one['p95_ms']:.1f}, processor {one['processor_ms']:.1f})"
    stages = ", ".join(f"{name} {row['stages_ms'][name]:.1f}" for name in stages_alone() if name in row["stages_ms"])
    each = many["images_per_second"]
    rate = "does not fit into memory" if each is None else f"{each:.2f} images/s"
    if row["compiled"] and row["compiled"]["images_per_second"]:
        rate += f" ({row['compiled']['images_per_second']:.2f} with compiled windows)"
    print(
        f"{row['title']:<24} {row['shots']} shots  {row['backbone']} {row['precision']}\n"
        f"  batch 1 {latency}; batch {many['batch']} {rate}, {_percent(row['plain_share'])} of a plain forward; "
        f"{row['flops_per_image'] / 1e9:.2f} GFLOP an image, {_percent(row['peak_share'])} of the product peak; "
        f"memory {_megabytes(row['peak_bytes'])} MB\n"
        f"  ms by stage: {stages}" + (f"; text {row['text_ms']:.0f} once" if row["text_ms"] is not None else "")
    )


def closing_text(report: dict[str, Any]) -> str:
    """What the figures were measured on."""
    machine = report["hardware"]
    speeds = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in report["matmul_flops_per_second"].items())
    lines = card.text_of(report["check"]) if "check" in report else []
    if "anomalib" in report:
        lines.append(beside_anomalib.text_of(report["anomalib"]))
    lines += [
        f"{report['machine']}, {machine['cores']} cores, {report['threads']} threads, on {report['device']}; "
        f"matrix products in GFLOP/s: {speeds}",
        "Medians after warm-up, one method alone: batch 1 from file to map, batches from pixels in memory to scores "
        "and native maps; operations of matrix products, attention included.",
    ]
    load = report["load_average"]
    if load > BUSY * machine["cores"]:
        lines.append(
            f"The machine was busy (load {load:g} on {machine['cores']} cores): times on the clock are too long."
        )
    lines += [f"left out: {item['what']}: {item['reason']}" for item in report["left_out"]]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}%"


def _megabytes(count: int | None) -> str:
    return "–" if count is None else f"{count / 2**20:.0f}"
