"""Many visitors at once: ``python tests/performance/load.py --viewers 50 --demo 20 --seconds 300 --out FILE``.

Each viewer goes to another page or choice every few seconds; each visitor of the live demo uploads another image every
few seconds. What a page shows is held against what a visitor alone was shown before; what the demo says of an image,
against what ``vlmad_core.predict`` says of it, which computes in this process. Times run from the request to the
message that the script has finished, so they hold the server and not the browser.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]  # called as a script, only its own folder is known

from clients import Failed, Visitor, changed  # noqa: E402

from vlmad_core import paths  # noqa: E402
from vlmad_core.analysis.comparable import comparisons  # noqa: E402
from vlmad_core.bench.serving import start_server, stop_server  # noqa: E402
from vlmad_core.datasets import load_dataset  # noqa: E402
from vlmad_core.engine.profiling import load_average, percentile  # noqa: E402
from vlmad_core.store.reader import open_stores  # noqa: E402

PAGES = (
    "", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "study", "transfer",
    "failures", "methods", "reproduction", "runs", "your_parts",
)  # fmt: skip
METRICS = ("image_auroc", "aupro_30")
CATEGORIES = 3
"""How many categories of a data set are looked at."""
STAY = 8
"""Pages that a viewer sees, and images that a visitor of the demo uploads, before the tab is closed and opened anew."""
DATASET, PART, IMAGES = "bundled_a", "capsule", 12
"""What is uploaded in the demo."""
SHORT = 60
"""Seconds below which only a few places and images are taken: enough to see that all works."""
SAMPLE = 2.0
"""Seconds between two looks at the server's memory."""
GROWTH = 1.1
"""Memory is flat where the last third of the time needs at most so much more than the third before."""
REFUSED = re.compile(r"line for the models is full")
SCORE = re.compile(r"score \*\*([-+.\de]+)\*\*")
TOLERANCE = 2e-3
"""Of a score, relative: the page shows four digits."""

Place = tuple[str, str]
Act = Callable[[Visitor, random.Random], Awaitable[None]]


@dataclass(frozen=True)
class Shown:
    """One image for the demo and what is right of it.

    Attributes:
        path: The file.
        scores: By title of the method.
        pixels: [H, W, 3], uint8, as the page shows it.
    """

    path: Path
    scores: Mapping[str, float]
    pixels: NDArray[np.uint8]


@dataclass
class Tally:
    """What happened, by kind of page.

    Attributes:
        seconds: Times of right answers.
        refused: Answers that say in a sentence that too many wait.
        problems: Errors and wrong answers in words.
        wrong: How many of them are wrong answers.
        opened: Sessions.
        memory: (seconds since the begin, resident, private) of the server and its processes, in bytes.
        load: Load average at the same moments.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    wrong: int = 0
    opened: int = 0
    memory: list[tuple[float, int, int]] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def differs(self, sentence: str) -> None:
        """Count a wrong answer."""
        self.wrong += 1
        self.problems.append(f"wrong: {sentence}")


def main(words: Sequence[str] | None = None) -> int:
    """Serve, visit, and say how it went.

    Returns:
        0; 1 if there was an error or a wrong answer.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50, help="visitors of result pages (default: %(default)s)")
    parser.add_argument("--demo", type=int, default=20, help="visitors of the live demo (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="how long (default: %(default)s)")
    parser.add_argument("--think", type=float, nargs=2, default=(5.0, 15.0), metavar="S",
                        help="least and most seconds from an answer to the next request (default: 5 15)")  # fmt: skip
    parser.add_argument(
        "--store", type=Path, default=paths.shipped("results/bundled"), help="the results that are looked at"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what visitors choose (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures here, as json")
    args = parser.parse_args(words)
    short = args.seconds < SHORT
    shown = images_with_answers(IMAGES // 4 if short else IMAGES) if args.demo else []
    with served(args.store) as (server, address):
        tally = asyncio.run(visit(args, server, address, shown))
        figures = tally_figures(tally, args) | {"server_processor_seconds": round(cpu_seconds(server), 1)}
    print(text(figures))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 1 if figures["errors"] or figures["wrong"] else 0


@contextmanager
def served(store: Path) -> Iterator[tuple[psutil.Process, str]]:
    """The dashboard on a store with a workspace of its own: the process, and the address."""
    with tempfile.TemporaryDirectory(prefix="vlmad-load-") as folder:
        own = {paths.WORKSPACE: folder, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1))}
        process, address = start_server(store, own)
        try:
            yield psutil.Process(process.pid), address
        finally:
            stop_server(process)


def images_with_answers(count: int) -> list[Shown]:
    """So many images to upload, and what is right of them, computed here."""
    from vlmad_core.live.drawing import fit
    from vlmad_core.live.inputs import open_picture
    from vlmad_core.live.predict import predict

    samples = load_dataset(DATASET).select(PART, "test")
    files = [sample.image_path for sample in samples[:: max(1, len(samples) // count)]][:count]
    found = []
    for file, judged in zip(files, predict(files, PART).images, strict=True):
        scores = {one.prediction.title: one.prediction.image_score for one in judged.opinions}
        pixels = fit(open_picture(file.read_bytes(), file.name).image)
        right = {title: score for title, score in scores.items() if score is not None}
        found.append(Shown(file, right, pixels))
    return found


def places(store: Path) -> list[Place]:
    """Pages with choices, as links.

    All name the same parameters, since a session remembers what it was asked for: what a page shows must follow from
    the link alone. The leaderboard has two choosers of a metric, each with a memory of its own, so it is given one.
    """
    found: dict[Place, None] = {}
    for one in comparisons(open_stores([store])):
        for page in PAGES:
            for metric in METRICS[: 1 if page == "leaderboard" else None]:
                for category in one.categories[:CATEGORIES]:
                    found[page, f"dataset={one.dataset}&metric={metric}&category={category}"] = None
    return list(found)


async def visit(args: argparse.Namespace, server: psutil.Process, address: str, shown: list[Shown]) -> Tally:
    """A visitor alone, then all of them."""
    links, tally = places(args.store), Tally()
    rng = random.Random(args.seed)
    if args.seconds < SHORT:
        links = rng.sample(links, min(len(links), len(PAGES)))
    alone = await seen_alone(address, links)

    async def view(visitor: Visitor, chance: random.Random) -> None:
        link = chance.choice(links)
        answer = await visitor.go(*link)
        await visitor.pictures()
        differing = differences(visitor.told(), alone[link])
        if differing:
            tally.differs(f"{link} shows something else than alone, at {differing[:3]}")
        tally.seconds[link[0] or "overview"].append(answer.seconds)

    async def demonstrate(visitor: Visitor, chance: random.Random) -> None:
        await judged(visitor, chance.choice(shown), shown, tally)

    begun = time.monotonic()
    end = begun + args.seconds
    people = [(view, opens_a_page)] * args.viewers + [(demonstrate, opens_the_demo)] * args.demo
    visits = [
        many_visits(address, act, first, tally, end, args.think, random.Random(f"{args.seed} {number}"))
        for number, (act, first) in enumerate(people)
    ]
    watching = asyncio.create_task(watch(server, tally, begun))
    await asyncio.gather(*visits)
    watching.cancel()
    return tally


async def seen_alone(address: str, links: Sequence[Place]) -> dict[Place, dict[tuple[int, ...], str]]:
    """What each link shows to a visitor alone.

    Raises:
        Failed: If a page fails even so.
    """
    visitor, found = Visitor(address), {}
    await visitor.open()
    for link in links:
        await visitor.go(*link)
        found[link] = visitor.told()
    await visitor.close()
    return found


async def many_visits(
    address: str, act: Act, first: Act, tally: Tally, end: float, think: Sequence[float], chance: random.Random
) -> None:
    """One person's sessions, one after the other, until the time is over."""
    await asyncio.sleep(chance.uniform(0, min(think[1], (end - time.monotonic()) / 4)))
    while time.monotonic() < end:
        visitor = Visitor(address)
        try:
            await first(visitor, chance)
            tally.opened += 1
            for _ in range(STAY):
                await act(visitor, chance)
                await asyncio.sleep(chance.uniform(*think))
                if time.monotonic() >= end:
                    break
        except Failed as error:
            tally.problems.append(str(error))
            await asyncio.sleep(1)
        finally:
            await visitor.close()


async def opens_a_page(visitor: Visitor, chance: random.Random) -> None:
    """Open the dashboard."""
    await visitor.open()


async def opens_the_demo(visitor: Visitor, chance: random.Random) -> None:
    """Open the live demo and say that an image of a part is to be uploaded."""
    await visitor.open("live_demo")
    await visitor.rerun(changed(visitor.find("button_group", "Camera"), "Upload"))
    await visitor.rerun(changed(visitor.find("text_input", "What is it?"), PART))


async def judged(visitor: Visitor, image: Shown, all_shown: Sequence[Shown], tally: Tally) -> None:
    """Upload an image and see whether the answer is about this one."""
    answer = await visitor.upload(visitor.find("file_uploader"), image.path.name, image.path.read_bytes())
    scores, title, complaints = {}, "", []
    for element in visitor.in_order():
        kind = element.WhichOneof("type")
        if kind == "markdown":
            body = element.markdown.body
            title = body.strip("*") if body.strip("*") in image.scores else title
            if title and (said := SCORE.search(body)):
                scores[title] = float(said.group(1))
        elif kind == "alert":
            complaints.append(element.alert.body)
    if not scores and any(map(REFUSED.search, complaints)):
        tally.refused["live demo"] += 1
        return
    if set(scores) != set(image.scores):
        raise Failed(f"the demo judged {image.path.name} by {sorted(scores)}: {'; '.join(complaints)[:300]}")
    other = [name for name, score in scores.items() if abs(score - image.scores[name]) > TOLERANCE * abs(score)]
    await visitor.pictures()
    seen = nearest(await visitor.picture("The image to judge"), all_shown)
    if other or seen is not image:
        tally.differs(f"the demo on {image.path.name}: {seen.path.name}, {scores} instead of {dict(image.scores)}")
    tally.seconds["live demo"].append(answer.seconds)


def nearest(content: bytes, shown: Sequence[Shown]) -> Shown:
    """Which of the images this one is: what a page shows is compressed, so none is quite equal."""
    with Image.open(io.BytesIO(content)) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.float32)
    alike = [one for one in shown if one.pixels.shape == pixels.shape]
    if not alike:
        raise Failed(f"the demo shows an image of shape {pixels.shape}, which nobody uploaded")
    return min(alike, key=lambda one: float(np.abs(pixels - one.pixels).mean()))


def differences(one: Mapping[tuple[int, ...], str], other: Mapping[tuple[int, ...], str]) -> list[tuple[int, ...]]:
    """Places at which two pages differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


async def watch(server: psutil.Process, tally: Tally, begun: float) -> None:
    """Note memory and load until cancelled."""
    while True:
        parts = [part.memory_full_info() for part in family(server)]
        tally.memory.append((time.monotonic() - begun, sum(p.rss for p in parts), sum(p.uss for p in parts)))
        tally.load.append(load_average())
        await asyncio.sleep(SAMPLE)


def family(server: psutil.Process) -> list[psutil.Process]:
    """The server and the processes it started."""
    return [server, *server.children(recursive=True)]


def cpu_seconds(server: psutil.Process) -> float:
    """Processor time of the server and its processes so far."""
    return sum(sum(part.cpu_times()[:2]) for part in family(server))


def tally_figures(tally: Tally, args: argparse.Namespace) -> dict[str, Any]:
    """The figures as plain values."""
    whole: dict[str, list[float]] = {
        "result pages": [s for kind, seconds in tally.seconds.items() if kind != "live demo" for s in seconds],
        **dict(sorted(tally.seconds.items())),
    }
    kinds = {
        kind: {
            "answers": len(seconds), "p50": percentile(seconds, 0.5), "p95": percentile(seconds, 0.95),
            "longest": max(seconds),
        }
        for kind, seconds in whole.items() if seconds
    }  # fmt: skip
    third = len(tally.memory) // 3
    late, before = tally.memory[-third:], tally.memory[-2 * third : -third]
    return {
        "viewers": args.viewers, "demo": args.demo, "seconds": args.seconds, "think": list(args.think),
        "sessions": tally.opened, "kinds": kinds, "refused": dict(tally.refused),
        "errors": len(tally.problems) - tally.wrong, "wrong": tally.wrong, "problems": tally.problems[:20],
        "memory": {
            name: {
                "begin": tally.memory[0][place], "end": tally.memory[-1][place],
                "flat": middle(late, place) <= GROWTH * middle(before, place),
            }
            for name, place in (("resident", 1), ("private", 2)) if third
        },
        "samples": tally.memory, "load": [min(tally.load), max(tally.load)], "cores": os.cpu_count(),
    }  # fmt: skip


def middle(rows: Sequence[tuple[float, int, int]], place: int) -> float:
    """The median of one column."""
    return percentile([float(row[place]) for row in rows], 0.5) or 0.0


def text(figures: Mapping[str, Any]) -> str:
    """The figures in words."""
    lines = [
        f"{figures['viewers']} viewers of result pages and {figures['demo']} visitors of the live demo for "
        f"{figures['seconds']:.0f} s, {figures['think'][0]:g} to {figures['think'][1]:g} s from an answer to the next "
        f"request; {figures['sessions']} sessions; {figures['cores']} cores, load {figures['load'][0]} to "
        f"{figures['load'][1]}",
        f"{'':16}answers    p50 s    p95 s  longest",
    ]
    for kind, one in figures["kinds"].items():
        lines.append(f"{kind:16}{one['answers']:7}{one['p50']:9.2f}{one['p95']:9.2f}{one['longest']:9.2f}")
    refused = sum(figures["refused"].values())
    lines.append(f"errors {figures['errors']}, wrong answers {figures['wrong']}, refused with a sentence {refused}")
    for name, one in figures["memory"].items():
        lines.append(
            f"{name} memory {one['begin'] / 2**20:.0f} MB at the begin, {one['end'] / 2**20:.0f} MB at the end, "
            f"{'flat' if one['flat'] else 'not flat'} over the last two thirds"
        )
    lines.append(
        f"processor time of the server, begin and answers alone included: {figures['server_processor_seconds']} s"
    )
    return "\n".join([*lines, *figures["problems"]])


if __name__ == "__main__":
    sys.exit(main())
