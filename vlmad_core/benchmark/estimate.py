"""What a plan would do, before it is done: units, and how much time, memory and disk they may take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from vlmad_core.benchmark.jobs import CategoryJob, jobs_of
from vlmad_core.benchmark.plan import Plan
from vlmad_core.benchmark.profiling import peak_memory
from vlmad_core.benchmark.protocol import evaluation_sizes
from vlmad_core.results.store import open_store

BYTES_PER_UNIT = 40_000
"""Tables of a unit, as measured; grids come on top."""

MAP_COPIES = 4
"""Arrays of the size of all maps of a category that exist at once while metrics are computed."""

BASE_MEMORY = 700 * 2**20
"""Program, torch and the activations of a batch."""


@dataclass(frozen=True)
class Estimate:
    """What a plan would do.

    Attributes:
        units: (run id, category, state, reason) in order.
        not_applicable: (combination, reason).
        notes: What the user should know.
        images: Images to be passed through backbones.
        seconds: Time, from earlier units with the same backbone; None without any.
        memory_bytes: Largest resident memory, roughly.
        disk_bytes: What the new units take, roughly.
    """

    units: tuple[tuple[str, str, str, str | None], ...]
    not_applicable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    images: int
    seconds: float | None
    memory_bytes: int
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return {
            "units": [dict(zip(("run", "category", "state", "reason"), unit, strict=True)) for unit in self.units],
            "not_applicable": [dict(zip(("what", "reason"), item, strict=True)) for item in self.not_applicable],
            "notes": list(self.notes),
            "images": self.images,
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }

    def text(self) -> str:
        """As lines to read."""
        lines = [f"note: {note}" for note in self.notes]
        lines += [f"not applicable: {what}: {reason}" for what, reason in self.not_applicable]
        lines += [
            f"{state:<9}{run} {category}" + (f": {reason}" if reason else "")
            for run, category, state, reason in self.units
        ]
        counts = Counter(state for _, _, state, _ in self.units)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        time = "unknown (nothing was measured with this backbone yet)"
        if self.seconds is not None:
            time = f"about {self.seconds:.0f} s"
        memory, disk = self.memory_bytes / 2**30, self.disk_bytes / 2**20
        lines.append(f"units: {states or 'none'}; {self.images} images to pass")
        lines.append(f"time {time}, memory about {memory:.1f} GB, disk about {disk:.1f} MB")
        return "\n".join(lines)


def estimate(plan: Plan) -> Estimate:
    """Look at the store and work out what is left of a plan; writes nothing."""
    units: list[tuple[str, str, str, str | None]] = []
    images, disk, memory = 0, 0, peak_memory() or BASE_MEMORY
    seconds: float | None = 0.0
    for job in jobs_of(plan):
        states = job.states()
        units += [(run_id, job.category, state.state, state.reason) for run_id, state in states.items()]
        pending = [run for run in job.runs if states[run.record.id].pending]
        if not pending:
            continue
        images += len(job.samples)
        info = pending[0].backbone.info
        sizes = evaluation_sizes(info)
        memory = max(memory, BASE_MEMORY + 4 * info.parameters + len(job.samples) * _map_bytes(sizes))
        for run in pending:
            segments = run.method.capabilities.segments and run.keeps_details
            grid = 4 * info.grid[0] * info.grid[1] * len(job.samples) if segments else 0
            disk += BYTES_PER_UNIT + grid
        each = _seconds_per_image(plan, job)
        seconds = None if seconds is None or each is None else seconds + each * len(job.samples)
    return Estimate(
        units=tuple(units),
        not_applicable=tuple((item.what, item.reason) for item in plan.not_applicable),
        notes=plan.notes,
        images=images,
        seconds=seconds if images else 0.0,
        memory_bytes=memory,
        disk_bytes=disk,
    )


def _map_bytes(sizes: tuple[int, ...]) -> int:
    """Memory per image for maps and masks while a category is evaluated."""
    return MAP_COPIES * 4 * max(sizes) ** 2 + sum(size**2 for size in sizes)


def _seconds_per_image(plan: Plan, job: CategoryJob) -> float | None:
    """From earlier units of the same backbone and methods in this store: shared passes once, own work per run."""
    if not plan.options.store.is_dir():
        return None
    wanted = {run.record.protocol.backbone["weights_hash"]: run.record for run in job.runs}
    shared: list[float] = []
    own: dict[str, list[float]] = {}
    for run in open_store(plan.options.store).runs:
        if run.protocol.backbone.get("weights_hash") not in wanted:
            continue
        for unit in run.units.values():
            spent = dict(unit.profile.get("seconds", {}))
            if unit.images and "vision" in spent:
                shared.append((spent["vision"] + spent.get("references", 0.0)) / unit.images)
                mine = sum(spent.get(name, 0.0) for name in ("scoring", "upsampling", "metrics", "bootstrap"))
                own.setdefault(run.key.method, []).append(mine / unit.images)
    if not shared:
        return None
    every = [value for values in own.values() for value in values]
    per_run = [own.get(run.record.key.method, every) for run in job.runs]
    return max(shared) + sum(sum(values) / len(values) for values in per_run)
