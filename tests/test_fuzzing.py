"""Every reader under damaged and crafted bytes: what it reads or its own error, and neither hours nor gigabytes.

By default the same few cases of each reader are tried each time. ``FUZZ=20000`` tries so many of each, and other ones
each time; what it finds is kept as a test of that reader.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.mutations import mutated, mutated_png, mutated_value, mutated_zip
from vlmad_core.arrays import array_head, parse_npy, parse_npz
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.archives import open_archive
from vlmad_core.datasets.check import check_dataset
from vlmad_core.datasets.images import IMAGE_SUFFIXES, ImageLimits, image_size, read_image
from vlmad_core.datasets.masks import read_mask
from vlmad_core.datasets.sample import Dataset, Sample
from vlmad_core.errors import DatasetError, MetricError, StoreError
from vlmad_core.exchange.maps import map_shape, read_map
from vlmad_core.exchange.tables import read_scores
from vlmad_core.io import parse_json, parse_yaml
from vlmad_core.methods.predictions import MapRule
from vlmad_core.metrics.cli import check_folder
from vlmad_core.prompts.ensemble import PromptError, parse_ensemble
from vlmad_core.store.tables import IMAGES as TABLE_COLUMNS
from vlmad_core.store.tables import READ_ERRORS, grid_bytes, read_grids, read_table, table_bytes
from vlmad_core.tabular import csv_rows, csv_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs limits of time that Windows does not have")

EXAMPLES = int(os.environ.get("FUZZ", "60"))
FUZZED = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

SECONDS, MEGABYTES = 20, 600
"""What the reader of one small damaged file may take: far more than it needs, far less than what hangs or fills."""

SHOTS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Reader:
    """A reader, and what it is tried on.

    Attributes:
        whole: Files that it reads.
        read: Reads a file; the folder is its own.
        error: All that it may raise.
        craft: Damage that keeps the frame of the format whole.
    """

    whole: Sequence[bytes]
    read: Callable[[bytes, Path], object]
    error: type[Exception] | tuple[type[Exception], ...]
    craft: Callable[[bytes, int], bytes] = mutated


def _file(content: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _images() -> list[bytes]:
    """A small image in every format and many modes."""
    found = []
    rgb = Image.fromarray(SHOTS)
    grey16 = Image.fromarray(SHOTS[..., 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    for image, kind, options in (
        (rgb, "PNG", {}), (rgb.convert("P"), "PNG", {"transparency": 3}), (rgb.convert("RGBA"), "PNG", {}),
        (grey16, "PNG", {}), (rgb.convert("1"), "PNG", {}), (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True}), (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "WEBP", {}), (rgb, "WEBP", {"lossless": True, "exif": exif}),
        (rgb, "BMP", {}), (rgb.convert("P"), "BMP", {}), (rgb, "TIFF", {}), (grey16, "TIFF", {}),
        (Image.fromarray(SHOTS[..., 0] / np.float32(255)), "TIFF", {}),
        *((rgb, "TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        (rgb.convert("1"), "TIFF", {"compression": "group4"}),
    ):  # fmt: skip
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def _saved(save: Callable[..., object], *values: object, **more: object) -> bytes:
    buffer = BytesIO()
    save(buffer, *values, **more)
    return buffer.getvalue()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


IMAGES = _images()
PNGS = [content for content in IMAGES if content.startswith(b"\x89PNG")]
MAPS = [content for content in IMAGES if content.startswith((b"\x89PNG", b"II"))]
VALUES = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
NPYS = [
    _saved(np.save, VALUES), _saved(np.save, VALUES[None].astype(">f8")), _saved(np.save, np.asfortranarray(VALUES)),
    _saved(np.save, np.array(["a", "größe"])), _saved(np.save, np.array(1)),
]  # fmt: skip
NPZS = [_saved(np.savez_compressed, grids=VALUES, ids=np.array(["a"])), _saved(np.savez, rule=np.array("{}"), a=VALUES)]
LIMITS = ImageLimits(max_unpacked_bytes=2**22, max_bytes=2**21)

IDS = [f"bolt/test/{kind}/{number:03}.png" for kind in ("good", "dent") for number in range(3)]
SAMPLES = tuple(
    Sample(one, "parts", "bolt", "test", Path(one), None, 0 if "good" in one else 1, one.split("/")[2]) for one in IDS
)
SCORES = pd.DataFrame({"image_path": IDS, "score": np.arange(6) / 7, "category": "bolt"})
TABLE = csv_text(SCORES).encode()
LABELS = b"file,label,mask\na.png,good,\nb.png,bad,b_mask.png\n"
CELLS = b"images/a.png 0.0 mono\nimages/b.png 1.0 poly\n"
SPLIT = b"object,split,label,image,mask\nbolt,train,normal,bolt/Data/Images/Normal/a.JPG,\n"
MANIFEST = pd.DataFrame({"image": ["a.png", "b.png"], "label": ["0", "1"], "mask": ["", "b_mask.png"], "category": "x"})
GRIDS = grid_bytes(IDS[:2], np.zeros((2, 1, 4, 4), np.float32), MapRule())
ROW = {"split": "test", "label": 0, "defect_type": "good", "defect_area": 0.0, "score": 0.5, "latency_ms": 1.0}
IMAGE_TABLE = table_bytes([{**ROW, "image_id": one, "error": None} for one in IDS], TABLE_COLUMNS)
REAL_IAD: Mapping[str, Any] = {
    "meta": {"normal_class": "OK", "prefix": "bolt/"},
    "train": [{"category": "bolt", "anomaly_class": "OK", "image_path": "a.png", "mask_path": None}],
    "test": [{"category": "bolt", "anomaly_class": "AK", "image_path": "b.png", "mask_path": "b_mask.png"}],
}
STATED: Mapping[str, Any] = {
    "name": "parts", "licence": "CC0", "redistributable": True, "categories": {"bolt": {"kind": "object"}},
    "pixels": {"bolt/test/good/000.png": "ab"},
}  # fmt: skip
PROMPTS: Mapping[str, Any] = {
    "title": "Words", "source": "here", "normal_states": ["{}", "good {}"], "abnormal_states": ["bad {}"],
    "templates": ["a photo of {}."],
}  # fmt: skip
EXPECTED: Mapping[str, Any] = {"fpr_limit": 0.3, "cases": {"one": {"image_auroc": 1.0, "pixel_auroc": 0.5}}}


def _zip(content: bytes, folder: Path) -> None:
    for entry in open_archive(content, "a.zip", IMAGE_SUFFIXES | {".npy"}, LIMITS).entries:
        entry.read()


def _map(suffix: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, folder: Path) -> object:
        path = _file(content, folder, f"map{suffix}")
        map_shape(path)
        return read_map(path)

    return read


def _scores(content: bytes, folder: Path) -> object:
    dataset = Dataset("parts", folder, "mvtec", SAMPLES)
    table = read_scores(_file(content, folder, "scores.csv"), dataset)
    assert all(np.isfinite(score) for score in table.scores.values())
    return table


def _data_set(name: str, *more: str) -> Callable[[bytes, Path], object]:
    """Lists and checks a data set one of whose files says what is in it."""

    def read(content: bytes, folder: Path) -> object:
        for image in ("a.png", "b.png", "b_mask.png", *more):
            path = folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNGS[0])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return check_dataset(load_dataset(folder)).as_json()

    return read


def _cases(content: bytes, folder: Path) -> object:
    maps = np.stack([VALUES, VALUES[::-1]])
    np.savez(folder / "cases.npz", one_maps=maps, one_masks=maps > 0.5)
    _file(content, folder, "expected.json")
    return check_folder(folder)


def _json(content: bytes, seed: int) -> bytes:
    return json.dumps(mutated_value(json.loads(content), seed)).encode()


def _yaml(content: bytes, seed: int) -> bytes:
    return yaml.safe_dump(mutated_value(yaml.safe_load(content), seed)).encode()


def _plain(value: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(value).encode()]


READERS: Mapping[str, Reader] = {
    "image": Reader(IMAGES, lambda content, folder: read_image(content), DatasetError),
    "png": Reader(PNGS, lambda content, folder: read_image(content), DatasetError, mutated_png),
    "size": Reader(IMAGES, lambda content, folder: image_size(_file(content, folder, "a.png")), DatasetError),
    "mask": Reader(IMAGES, lambda content, folder: read_mask(_file(content, folder, "a.png")), DatasetError),
    "tiff map": Reader(MAPS, _map(".tiff"), StoreError),
    "npy map": Reader(NPYS, _map(".npy"), StoreError),
    "npy head": Reader(NPYS, lambda content, folder: array_head(content), ValueError),
    "npy": Reader(NPYS, lambda content, folder: parse_npy(content, 10_000), ValueError),
    "npz": Reader(NPZS, lambda content, folder: parse_npz(content, 10_000), ValueError, mutated_zip),
    "zip": Reader(NPZS, _zip, DatasetError, mutated_zip),
    "csv": Reader([TABLE], lambda content, folder: csv_rows(_file(content, folder, "a.csv"), StoreError), StoreError),
    "scores": Reader([TABLE, TABLE.decode().encode("utf-16"), TABLE.replace(b",", b";")], _scores, StoreError),
    "scores parquet": Reader([_parquet(SCORES)], _scores, StoreError),
    "labels csv": Reader([LABELS], _data_set("labels.csv"), DatasetError),
    "labels json": Reader(_plain({"a.png": "good", "b.png": "bad"}), _data_set("labels.json"), DatasetError, _json),
    "manifest": Reader([csv_text(MANIFEST).encode()], _data_set("manifest.csv"), DatasetError),
    "manifest parquet": Reader([_parquet(MANIFEST)], _data_set("manifest.parquet"), DatasetError),
    "elpv": Reader([CELLS], _data_set("labels.csv", "images/a.png", "images/b.png"), DatasetError),
    "visa": Reader([SPLIT], _data_set("split_csv/1cls.csv", "bolt/Data/Images/Normal/a.JPG"), DatasetError),
    "real_iad": Reader(
        _plain(REAL_IAD),
        _data_set("realiad_jsons/bolt.json", "realiad_512/bolt/a.png", "realiad_512/bolt/b.png"),
        DatasetError,
        _json,
    ),
    "stated": Reader(
        _plain(STATED),
        _data_set("dataset.json", "bolt/test/good/000.png", "bolt/train/good/000.png"),
        DatasetError,
        _json,
    ),
    "stored grids": Reader([GRIDS], lambda content, folder: read_grids(content), READ_ERRORS, mutated_zip),
    "stored table": Reader([IMAGE_TABLE], lambda content, folder: read_table(content, TABLE_COLUMNS), READ_ERRORS),
    "json": Reader(_plain(REAL_IAD), lambda content, folder: parse_json(content, "it"), StoreError, _json),
    "yaml": Reader(_plain(REAL_IAD), lambda content, folder: parse_yaml(content, "it", StoreError), StoreError, _yaml),
    "prompts": Reader(
        _plain(PROMPTS), lambda content, folder: parse_ensemble(content, "mine", "it"), PromptError, _yaml
    ),
    "metric cases": Reader(_plain(EXPECTED), _cases, MetricError, _json),
}


@pytest.fixture
def bounded() -> Iterator[None]:
    """Ends what hangs, and fails what takes far more memory than its file gives reason for."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"it has not ended after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < MEGABYTES * 1024


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_what_is_whole(name: str, tmp_path: Path) -> None:
    for number, content in enumerate(READERS[name].whole):
        folder = tmp_path / str(number)
        folder.mkdir()
        with contextlib.suppress(*([StoreError] if name in ("tiff map", "npy map") else [])):  # colours, texts
            READERS[name].read(content, folder)


@pytest.mark.parametrize("name", READERS)
def test_damage_gives_values_or_the_readers_own_error(name: str, tmp_path: Path, bounded: None) -> None:
    reader = READERS[name]
    errors = reader.error if isinstance(reader.error, tuple) else (reader.error,)

    @FUZZED
    @given(
        st.one_of(
            st.builds(mutated, st.sampled_from(reader.whole), st.integers(0, 2**32)),
            st.builds(reader.craft, st.sampled_from(reader.whole), st.integers(0, 2**32)),
            st.binary(max_size=300),
        )
    )
    def attack(content: bytes) -> None:
        signal.alarm(SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(*errors):
                reader.read(content, tmp_path)

    attack()
