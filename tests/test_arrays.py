"""NumPy files as strangers and broken disks give them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.arrays import MOST_ARRAYS, parse_npy, parse_npz

VALUES = np.arange(12, dtype="<f4").reshape(3, 4)
MOST = 10_000


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def headed(text: str, values: bytes = b"") -> bytes:
    """A npy file with a head of one's own."""
    head = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + values


@pytest.mark.parametrize(
    "array",
    [
        VALUES,
        np.asfortranarray(VALUES),
        VALUES.astype(">f8"),
        np.array(3, dtype=np.int64),
        np.array([True, False]),
        np.array(["größe", "照片"]),
        np.zeros((0, 5), np.float32),
        np.array("{}"),
    ],
)
def test_arrays_are_read_as_they_were_written(array: np.ndarray) -> None:
    read = parse_npy(npy(array), MOST)
    assert read.dtype == array.dtype
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(parse_npz(npz(it=array), MOST)["it"], array)


def test_all_versions_of_the_format_are_read(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "it.npy").open("wb") as file:
            np.lib.format.write_array(file, VALUES, version)
        np.testing.assert_array_equal(parse_npy((tmp_path / "it.npy").read_bytes(), MOST), VALUES)


WHOLE = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin"),
        (b"\x93NUMPY\x09\0" + npy(VALUES)[8:], "does not begin"),
        (b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b" " * 100, "does not begin"),
        (npy(VALUES)[:20], "does not begin"),
        (npy(VALUES)[:-1], "declares 176 bytes, and it has 175"),
        (npy(VALUES) + b"x", "declares 176 bytes, and it has 177"),
        (headed("[" * 2000), "head is damaged"),
        (headed("-" * 2000 + "1"), "head is damaged"),
        (headed("(" * 150 + ")" * 150), "head is damaged"),
        (headed("{'descr': '<f4'"), "head is damaged"),
        (headed("{[]: 1}"), "head is damaged"),
        (headed(WHOLE.replace("(3, 4)", f"({2**60},)")), "no shape"),
        (headed(WHOLE.replace("(3, 4)", f"({2**40},)")), "declares 1,099,511,627,776 values, more than"),
        (headed(WHOLE.replace("(3, 4)", f"(0, {2**40})")), "more than"),
        (headed(WHOLE.replace("(3, 4)", "(-3, 4)")), "no shape"),
        (headed(WHOLE.replace("(3, 4)", "(3.0, 4)")), "no shape"),
        (headed(WHOLE.replace("(3, 4)", "(True, 4)")), "no shape"),
        (headed(WHOLE.replace("(3, 4)", f"({'1, ' * 70})")), "no shape"),
        (headed(WHOLE.replace("False", "0")), "no shape"),
        (headed(WHOLE.replace("'<f4'", "'|O'")), "neither numbers nor text"),
        (headed(WHOLE.replace("'<f4'", "[('a', '<f4')]")), "neither numbers nor text"),
        (headed(WHOLE.replace("<f4", "<U999999999")), "neither numbers nor text"),
        (headed(WHOLE.replace("<f4", "<f3")), "no values of type"),
        (npy(np.zeros(MOST + 1)), "declares 10,001 values, more than 10,000"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_array_is_said(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_npy(content, MOST)


def test_an_archive_gives_no_more_than_it_may() -> None:
    bomb = npz(zeros=np.zeros(10_000_000, np.uint8))
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match="'zeros': it declares 10,000,000 values, more than 10,000"):
        parse_npz(bomb, MOST)
    with pytest.raises(ValueError, match="'b': it declares 6,000 values, more than 4,000 that are left"):
        parse_npz(npz(a=np.zeros(6000), b=np.zeros(6000)), MOST)


def test_an_archive_whose_head_says_less_than_follows_is_not_unpacked_further() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("it.npy", npy(VALUES) + bytes(10_000_000))
    with pytest.raises(ValueError, match="'it': its head declares 176 bytes"):
        parse_npz(file.getvalue(), MOST)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(method: int) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("it.npy", npy(VALUES))
    with pytest.raises(ValueError, match="unusual way"):
        parse_npz(file.getvalue(), MOST)


def test_what_is_no_archive_of_arrays_is_refused() -> None:
    encrypted = bytearray(npz(it=VALUES))
    place = encrypted.index(b"PK\1\2") + 8
    encrypted[place] |= 1
    unknown = bytearray(npz(it=VALUES))
    unknown[place + 2] = 77
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(MOST_ARRAYS + 1):
            archive.writestr(f"{number}.npy", b"")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("it.npy", npy(VALUES))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("it.npy", npy(VALUES))
    for content, said in (
        (bytes(encrypted), "encrypted"),
        (bytes(unknown), "unusual way"),
        (many.getvalue(), "more than 1,000 entries"),
        (twice.getvalue(), "twice"),
        (npy(VALUES), "not a zip file"),
        (b"", "not a zip file"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_npz(content, MOST)
