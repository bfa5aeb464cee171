"""Photos that were uploaded: in memory until they are wanted in the workspace.

What is known of a data set without decoding rests on the names of its files. So an upload is listed by a folder of
empty files of the same names, which is gone at once: the photos themselves reach no disk before ``parts.keep``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from secrets import token_hex
from tempfile import TemporaryDirectory

from vlmad_core.datasets import Dataset
from vlmad_core.datasets.archives import LONGEST_NAME, is_archive, is_hidden, open_archive, why_not
from vlmad_core.datasets.images import DEFAULT_LIMITS, IMAGE_SUFFIXES, ImageLimits
from vlmad_core.datasets.loading import load_from
from vlmad_core.datasets.parts import PHOTOS, Part, as_part
from vlmad_core.datasets.sample import DatasetProblem
from vlmad_core.errors import DatasetError

UPLOAD_MEGABYTES = 512
"""Largest upload, of all files together; ``.streamlit/config.toml`` has the same number for each file."""

UPLOAD_LIMITS = replace(
    DEFAULT_LIMITS,
    max_archive_bytes=UPLOAD_MEGABYTES * 2**20,
    max_archive_entries=5_000,
    max_unpacked_bytes=2 * UPLOAD_MEGABYTES * 2**20,
)
"""Of one upload; an archive of photos unpacks to little more than itself."""

TABLES = frozenset({".csv", ".json"})
"""Endings of the files beside photos that a layout may need: labels, splits, what a data set states of itself."""

_LABEL_MASKS = ("_label", "_GT")
"""How masks end that a layout reads for its labels (KolektorSDD)."""

Read = Callable[[], bytes]


@dataclass(frozen=True)
class Upload:
    """What was uploaded as one part.

    Attributes:
        files: How to read each file, by its path with forward slashes; archives are open and read in memory.
        problems: What can't be used, each in a sentence that names it.
        left_out: Number of files that are neither images nor tables, by their endings.
        root: Where the files seem to lie: what the paths of a listing begin with. Nothing is there, and no other
            upload has the same.
    """

    files: Mapping[str, Read]
    problems: tuple[str, ...] = ()
    left_out: int = 0
    root: Path = field(default_factory=lambda: Path("/upload") / token_hex(8) / PHOTOS)

    def listing(self, part: Part) -> Dataset:
        """The data set that it is, as it will be read once it is written.

        Raises:
            DatasetError: If its layout is none that is known, or it holds no photo that can be used.
        """
        with TemporaryDirectory(prefix="vlmad-names-") as place:
            shadow = Path(place).resolve() / PHOTOS
            for name, read in self.files.items():
                path = shadow / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._shadow(name, read))
            try:
                dataset = load_from(shadow, part.slug)
            except DatasetError as error:
                raise DatasetError(error.problem.replace(str(shadow), "the upload"), error.fix) from error
        return as_part(self._moved(dataset, shadow), part)

    def content(self, path: Path) -> bytes:
        """The bytes of a file of a listing.

        Raises:
            DatasetError: If it can't be unpacked.
        """
        return self.files[path.relative_to(self.root).as_posix()]()

    def _shadow(self, name: str, read: Read) -> bytes:
        """What stands for a file while it is listed: itself only where its content says what others are."""
        path = PurePosixPath(name)
        if path.suffix.lower() in TABLES or path.stem.endswith(_LABEL_MASKS):
            try:
                return read()
            except DatasetError:
                return b""
        return b"-"

    def _moved(self, dataset: Dataset, shadow: Path) -> Dataset:
        """A listing of the shadow as one of ``root``; what a table names outside the upload is left out."""
        if not dataset.root.is_relative_to(shadow):
            raise DatasetError("A table in the upload names files outside of it.", "Name files relative to the table.")
        samples, problems = [], []
        for sample in dataset.samples:
            if sample.image_path.is_relative_to(shadow):
                mask = sample.mask_path
                samples.append(
                    replace(
                        sample,
                        image_path=self.root / sample.image_path.relative_to(shadow),
                        mask_path=self.root / mask.relative_to(shadow)
                        if mask and mask.is_relative_to(shadow)
                        else None,
                    )
                )
            else:
                problems.append(DatasetProblem("outside", self.root / sample.image_path.name, "is not in the upload."))
        for problem in dataset.problems:
            inside = problem.path.is_relative_to(shadow)
            path = self.root / (problem.path.relative_to(shadow) if inside else problem.path.name)
            problems.append(replace(problem, path=path, message=problem.message.replace(f"{shadow}/", "")))
        root = self.root / dataset.root.relative_to(shadow)
        return replace(dataset, root=root, samples=tuple(samples), problems=tuple(problems))


def gather_upload(given: Iterable[tuple[str, bytes]], limits: ImageLimits = UPLOAD_LIMITS) -> Upload:
    """List what was uploaded: files by name, archives by what is in them. Nothing is decoded or written.

    Args:
        given: Name (a path where a whole folder was given) and content of each file.
        limits: How large, and how many.

    Raises:
        DatasetError: If it is too large in all, an archive can't be opened, or there is no image in it.
    """
    files: dict[str, Read] = {}
    folders: set[str] = set()
    problems: list[str] = []
    left_out = total = 0
    for name, content in given:
        total += len(content)
        if total > limits.max_archive_bytes:
            raise DatasetError(
                f"More than the {limits.max_archive_bytes / 2**20:.0f} MB allowed were uploaded.", _FEWER
            )
        found: list[tuple[str, Read]] = [(name.replace("\\", "/"), partial(bytes, content))]
        if is_archive(name):
            archive = open_archive(content, name, IMAGE_SUFFIXES | TABLES, limits)
            problems += archive.problems
            left_out += archive.left_out
            found = [(entry.path, entry.read) for entry in archive.entries]
        for path, read in found:
            above = {str(folder) for folder in PurePosixPath(path).parents}
            reason = why_not(path, files)
            if is_hidden(path):
                continue
            if PurePosixPath(path.lower()).suffix not in IMAGE_SUFFIXES | TABLES:
                left_out += 1
            elif reason is not None or path in folders or not above.isdisjoint(files):
                reason = reason or "a folder has its name"
                problems.append(f"{path[:LONGEST_NAME]}: {reason}; it was left out.")
            else:
                files[path] = read
                folders |= above
    if len(files) > limits.max_archive_entries:
        most = limits.max_archive_entries
        raise DatasetError(f"{len(files):,} files were uploaded, more than the {most:,} allowed.", _FEWER)
    if not any(PurePosixPath(name.lower()).suffix in IMAGE_SUFFIXES for name in files):
        raise DatasetError(
            " ".join(problems[:3]) or "There is no photo in what was given.",
            "Give JPEG, PNG, WebP, BMP or TIFF images.",
        )
    return Upload(files, tuple(problems), left_out)


_FEWER = "Give fewer photos, or a folder on the server."


def sorted_upload(
    good: Iterable[tuple[str, bytes]], bad: Iterable[tuple[str, bytes]], limits: ImageLimits = UPLOAD_LIMITS
) -> Upload:
    """An upload of two heaps, of photos of good and of defective parts: as if they lay in ``good`` and ``bad``.

    Args:
        good: As for ``gather_upload``.
        bad: As for ``gather_upload``; folders in it are types of defects.
        limits: How large, and how many.

    Raises:
        DatasetError: As ``gather_upload``.
    """
    heaps = {"good": list(good), "bad": list(bad)}
    uploads = {kind: gather_upload(heap, limits) for kind, heap in heaps.items() if heap}
    files: dict[str, Read] = {}
    problems: list[str] = []
    for kind, upload in uploads.items():
        problems += upload.problems
        for name, read in upload.files.items():
            path = "/".join((kind, *PurePosixPath(name).parts[-2:]))
            if path in files:
                problems.append(f"{name[:LONGEST_NAME]}: another photo has its name; it was left out.")
            elif PurePosixPath(name.lower()).suffix in IMAGE_SUFFIXES:
                files[path] = read
    return Upload(files, tuple(problems), sum(upload.left_out for upload in uploads.values()))
