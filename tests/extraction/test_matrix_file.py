from __future__ import annotations

import json
import os
import pickle
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from active_indexing.extraction.matrix_file import DescriptorMatrix, open_descriptors, reference_names
from tests.programs import in_a_fork


def unit(rows: int = 50, dim: int = 8) -> np.ndarray:
    matrix = np.random.default_rng(0).normal(size=(rows, dim))
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def content(file: DescriptorMatrix, rows: int = 7) -> np.ndarray:
    return np.concatenate([chunk for _, chunk in file.chunks(rows)])


def save(path: Path, matrix: np.ndarray | torch.Tensor, **options: bool) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.asarray(matrix))
    else:
        torch.save(torch.as_tensor(matrix), path, **options)
    return path


@pytest.mark.parametrize("name", ["fts.npy", "fts.pth", "fts.pt"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_kind_of_file_gives_the_rows_as_float32(tmp_path: Path, name: str, dtype: str) -> None:
    matrix = unit().astype(dtype)
    file = open_descriptors(save(tmp_path / name, matrix))
    assert (len(file), file.dim, file.shape) == (50, 8, (50, 8))
    read = content(file)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, matrix, atol=1e-3 if dtype == "float16" else 1e-6)
    assert file.made_by is None


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_bfloat16_and_files_of_old_torch_are_read(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    tensor = torch.from_numpy(unit()).to(dtype)
    path = save(tmp_path / "fts.pth", tensor, _use_new_zipfile_serialization=not legacy)
    expected = torch.nn.functional.normalize(tensor.double(), dim=1)
    np.testing.assert_allclose(content(open_descriptors(path)), expected, atol=1e-3)


def test_tensors_with_gradients_or_strides_and_fortran_order_are_read(tmp_path: Path) -> None:
    matrix = torch.from_numpy(unit()).float()
    torch.save(matrix.clone().requires_grad_(True), tmp_path / "a.pth")
    torch.save(matrix.T.contiguous().T, tmp_path / "b.pth")
    np.save(tmp_path / "c.npy", np.asfortranarray(matrix.numpy()))
    for name in ("a.pth", "b.pth", "c.npy"):
        assert np.array_equal(content(open_descriptors(tmp_path / name)), matrix.numpy())


def test_pieces_say_where_they_start_and_cover_every_row_once(tmp_path: Path) -> None:
    file = open_descriptors(save(tmp_path / "fts.npy", unit()))
    assert [(start, len(chunk)) for start, chunk in file.chunks(20)] == [(0, 20), (20, 20), (40, 10)]


def test_rows_of_another_length_are_normalised_and_the_file_is_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "fts.npy", (3 * unit()).astype(np.float32))
    before = path.read_bytes()
    np.testing.assert_allclose(np.linalg.norm(content(open_descriptors(path)), axis=1), 1, atol=1e-6)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["fts.npy", "fts.pth"])
def test_a_sample_is_in_file_order_without_repeats_and_follows_the_seed(tmp_path: Path, name: str) -> None:
    matrix = unit(300).astype(np.float32)
    file = open_descriptors(save(tmp_path / name, matrix))
    sample = file.sample(40, seed=3)
    rows = [int(np.flatnonzero((matrix == row).all(axis=1))[0]) for row in sample]
    assert len(rows) == 40
    assert rows == sorted(set(rows))
    assert max(rows) > 200 > 100 > min(rows)
    assert np.array_equal(sample, file.sample(40, seed=3))
    assert not np.array_equal(sample, file.sample(40, seed=4))
    assert np.array_equal(file.sample(300, seed=3), matrix)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e300])
def test_a_row_that_cannot_be_used_is_told_with_its_number(tmp_path: Path, value: float) -> None:
    matrix = unit()
    matrix[33] = value
    file = open_descriptors(save(tmp_path / "fts.npy", matrix))
    with pytest.raises(ValueError, match=r"fts.npy: row 33 is zero or has a value that is not finite"):
        content(file)
    with pytest.raises(ValueError, match="row 33 is zero"):
        file.sample(45, seed=0)


@pytest.mark.parametrize(
    ("matrix", "shape"),
    [
        (unit()[0], r"float64 of shape \(8,\)"),
        (np.zeros((0, 8)), r"float64 of shape \(0, 8\)"),
        (np.zeros((4, 8), dtype=np.int64), "int64"),
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
    ],
)
@pytest.mark.parametrize("name", ["fts.npy", "fts.pth"])
def test_what_is_no_matrix_of_floats_is_described(
    tmp_path: Path, name: str, matrix: np.ndarray, shape: str
) -> None:
    with pytest.raises(ValueError, match=rf"{name} holds .*{shape}.*expected a matrix \(N, D\) of floats"):
        open_descriptors(save(tmp_path / name, matrix))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants:UserWarning")
def test_another_object_in_a_torch_file_is_named(tmp_path: Path) -> None:
    torch.save({"features": torch.zeros(2, 2)}, tmp_path / "fts.pth")
    with pytest.raises(ValueError, match="it holds a dict, expected one dense tensor"):
        open_descriptors(tmp_path / "fts.pth")
    torch.save(torch.eye(3).to_sparse(), tmp_path / "sparse.pth")
    with pytest.raises(ValueError, match="expected one dense tensor"):
        open_descriptors(tmp_path / "sparse.pth")


@pytest.mark.parametrize("name", ["fts.npy", "fts.pth", "fts.pt"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, damage: str) -> None:
    path = save(tmp_path / name, unit())
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello\n"}[damage])
    with pytest.raises(ValueError, match=rf"{name} is not a whole .npy, .pth or .pt file") as error:
        open_descriptors(path)
    assert "\n" not in str(error.value)


def test_pickles_archives_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with open(tmp_path / "several.npy", "wb") as file:
        np.savez(file, a=unit(), b=unit())
    for name in ("objects.npy", "several.npy"):
        with pytest.raises(ValueError, match="is not a whole"):
            open_descriptors(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no descriptor file .*nothing.npy; make one with scripts"):
        open_descriptors(tmp_path / "nothing.npy")


def test_the_side_car_says_what_made_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "fts.pth", unit())
    (tmp_path / "fts.json").write_text(json.dumps({"descriptor_fingerprint": "abc"}))
    assert open_descriptors(path).made_by == "abc"
    for other in ("[1, 2]", '{"descriptor_fingerprint": 3}', "{}"):
        (tmp_path / "fts.json").write_text(other)
        assert open_descriptors(path).made_by is None
    (tmp_path / "fts.json").write_text('{"descriptor_')
    with pytest.raises(ValueError, match=r"fts.json, which says what made .* is damaged"):
        open_descriptors(path)


def test_names_lie_beside_the_references_one_line_a_row(tmp_path: Path) -> None:
    path = save(tmp_path / "fts.npy", unit(3))
    assert reference_names(path, 3) is None
    names = tmp_path / "filenames.txt"
    for text in ("a\nb\nc\n", "a\nb\nc"):
        names.write_text(text)
        assert reference_names(path, 3) == names
    names.write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"has 2 lines but fts.npy has 3 rows: they are not of one"):
        reference_names(path, 3)


def test_the_identity_changes_with_the_content_and_not_with_the_place(tmp_path: Path) -> None:
    first, same = save(tmp_path / "a.npy", unit()), save(tmp_path / "b.npy", unit())
    other = save(tmp_path / "c.npy", -unit())
    identity = open_descriptors(first).identity()
    assert (identity["rows"], identity["dim"]) == (50, 8)
    assert identity == open_descriptors(same).identity() != open_descriptors(other).identity()


def peaks(path: Path) -> tuple[int, int]:
    """MiB that opening a file takes, and that opening and reading it take."""

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    before = peak()
    file = open_descriptors(path)
    opened = peak()
    for _ in file.chunks(4096):
        pass
    file.sample(1000, 0)
    return opened - before, peak() - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize("name", ["fts.npy", "fts.pth"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    size = 160  # MiB
    save(path, np.full((size * 8192, 32), 32**-0.5, dtype=np.float32))
    opened, read = in_a_fork(lambda: peaks(path))
    assert opened < 20
    assert read < 60  # one piece of CHUNK_ROWS is 8 MiB here


class Runs:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 99999999999)}\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4)}\n"),
        header("{'descr': [], 'fortran_order': False, 'shape': (2, 4)}\n"),
        header("{'descr': '<f4', 'shape': 3}\n"),
        header("(" * 200 + "\n"),
        header("__import__('os').abort()\n"),
        header("{'descr'\n", 9),
        b"\x93NUMPY",
        b"",
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_a_hostile_npy_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fts.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"fts\.npy (is not a whole \.npy|holds )"):
        open_descriptors(path)


@pytest.mark.parametrize("suffix", ["npy", "pth"])
def test_code_in_a_pickle_is_never_run(tmp_path: Path, suffix: str) -> None:
    path, proof = tmp_path / f"fts.{suffix}", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Runs(proof), protocol=2))
    with pytest.raises(ValueError, match="is not a whole"):
        open_descriptors(path)
    np.save(tmp_path / "o.npy", np.array([Runs(proof)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is not a whole"):
        open_descriptors(tmp_path / "o.npy")
    torch.save({"fts": Runs(proof)}, tmp_path / "o.pth")
    with pytest.raises(ValueError, match="is not a whole"):
        open_descriptors(tmp_path / "o.pth")
    assert not proof.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "fts.npy")
    with pytest.raises(ValueError, match=r"fts\.npy is a (folder|pipe or a device), expected"):
        open_descriptors(tmp_path / "fts.npy")
