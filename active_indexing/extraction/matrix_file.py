"""Files of descriptors, read piece by piece: ``.npy``, ``.pth`` and ``.pt``, with names beside them."""

from __future__ import annotations

import json
import pickle
import struct
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.artefacts.identity import sha256_file
from active_indexing.checks import regular_file

CHUNK_ROWS = 65_536
"""Rows held in memory at a time: 128 MiB of 512-d float32."""

UNIT_TOLERANCE = 1e-3
"""Rows whose norm differs from 1 by more are normalised."""


@dataclass(frozen=True, eq=False)
class DescriptorMatrix:
    """An (N, D) matrix of descriptors on the disk, read piece by piece.

    Attributes:
        path: where it lies.
        shape: (N, D).
        made_by: fingerprint of the descriptor that made it, when ``<stem>.json`` beside it says so.
        read: rows [start, stop) in the file's own dtype, as an array that may be written to.
    """

    path: Path
    shape: tuple[int, int]
    made_by: str | None
    read: Callable[[int, int], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dim(self) -> int:
        """D."""
        return self.shape[1]

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, (n, D) float32 unit-norm) pieces in order.

        Raises:
            ValueError: a row with a value that is not finite, or of length 0.
        """
        for start in range(0, len(self), rows):
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is told as such
                piece = self.read(start, min(start + rows, len(self))).astype(np.float32, copy=False)
            yield start, _unit(piece, self.path, start)

    def sample(self, most: int, seed: int) -> np.ndarray:
        """At most ``most`` rows, (n, D) float32 unit-norm, in file order; the same for the same seed."""
        picked = np.arange(len(self))
        if len(self) > most:
            picked = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        sampled = np.empty((len(picked), self.dim), dtype=np.float32)
        for start, chunk in self.chunks():
            first, last = np.searchsorted(picked, (start, start + len(chunk)))
            sampled[first:last] = chunk[picked[first:last] - start]
        return sampled

    def identity(self) -> dict[str, object]:
        """What tells this file from another: rows, dimension and SHA-256 of its bytes."""
        rows, dim = self.shape
        return {"rows": rows, "dim": dim, "sha256": sha256_file(self.path)}


def open_descriptors(path: Path) -> DescriptorMatrix:
    """Open a descriptor file without reading it.

    Args:
        path: .npy, or .pth/.pt holding one (N, D) tensor.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a whole file of that kind, or not a non-empty matrix of floating numbers.
    """
    if not path.exists():
        raise FileNotFoundError(f"no descriptor file {path}; make one with scripts/extract_fts.py.")
    regular_file(path, "descriptor file", "make one with scripts/extract_fts.py")
    try:
        shape, dtype, read = _npy(path) if path.suffix == ".npy" else _torch(path)
    except _DAMAGED as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is not a whole .npy, .pth or .pt file of descriptors: {why}") from error
    if len(shape) != 2 or 0 in shape or "float" not in dtype:
        raise ValueError(f"{path} holds {dtype} of shape {shape}; expected a matrix (N, D) of floats.")
    return DescriptorMatrix(path, (shape[0], shape[1]), _maker(path.with_suffix(".json")), read)


def reference_names(path: Path, rows: int) -> Path | None:
    """``filenames.txt`` beside a descriptor file, when there is one.

    Raises:
        ValueError: it does not have one line per row.
    """
    names = path.parent / "filenames.txt"
    if not names.is_file():
        return None
    with open(names, "rb") as file:
        lines = sum(1 for _ in file)
    if lines != rows:
        raise ValueError(
            f"{names} has {lines:,} lines but {path.name} has {rows:,} rows: they are not of one extraction. "
            "Move the list away, or extract again."
        )
    return names


_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError,
    pickle.UnpicklingError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What NumPy's and torch's readers raise for bytes that mean nothing."""

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)  # not bfloat16

_Opened = tuple[tuple[int, ...], str, Callable[[int, int], np.ndarray]]
"""Shape, name of the dtype, and how to read rows."""


def _npy(path: Path) -> _Opened:
    def mapped() -> np.ndarray:
        with np.errstate(over="ignore"):  # a shape beyond 64 bits is refused anyway
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(matrix, np.ndarray):
            raise ValueError("it is an archive of several arrays")
        return matrix

    def read(start: int, stop: int) -> np.ndarray:
        # Mapped anew for every piece: pages of a mapping that was read stay in this process's memory.
        return np.array(mapped()[start:stop])

    matrix = mapped()
    return matrix.shape, matrix.dtype.name, read


def _torch(path: Path) -> _Opened:
    tensor = _tensor(path, mmap=True)
    held = _tensor(path, mmap=False) if tensor is None else None  # files of torch < 1.6 can't be mapped

    def read(start: int, stop: int) -> np.ndarray:
        whole = _tensor(path, mmap=True) if held is None else held
        assert whole is not None
        rows = whole[start:stop].clone()
        return rows.numpy() if rows.dtype in _NUMPY_FLOATS else rows.float().numpy()

    opened = tensor if held is None else held
    assert opened is not None
    return tuple(opened.shape), str(opened.dtype).removeprefix("torch."), read


def _tensor(path: Path, *, mmap: bool) -> torch.Tensor | None:
    """The tensor in the file, or ``None`` if the file can't be mapped."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return None
    except (LookupError, AttributeError, AssertionError, struct.error) as error:
        raise ValueError("it was not written by torch.save") from error  # text is read as a bad pickle
    if not isinstance(content, torch.Tensor) or content.layout != torch.strided:
        raise ValueError(f"it holds a {type(content).__name__}, expected one dense tensor (N, D)")
    return content.detach()


def _maker(side_car: Path) -> str | None:
    if not side_car.is_file():
        return None
    try:
        content = json.loads(side_car.read_text())
    except ValueError as error:
        raise ValueError(
            f"{side_car}, which says what made the descriptors beside it, is damaged: extract them again, or "
            "move it away if you know that they fit."
        ) from error
    maker = content.get("descriptor_fingerprint") if isinstance(content, dict) else None
    return maker if isinstance(maker, str) else None


def _unit(rows: np.ndarray, path: Path, start: int) -> np.ndarray:
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        raise ValueError(
            f"{path}: row {start + int(bad[0])} is zero or has a value that is not finite; "
            "extract the file again."
        )
    off = np.abs(norms - 1.0) > UNIT_TOLERANCE
    rows[off] /= norms[off, None]
    return rows
