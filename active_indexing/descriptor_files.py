"""Files of descriptors, read piece by piece: ``.npy``, ``.pth`` and ``.pt``, with names beside them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.artefacts import sha256_file

CHUNK_ROWS = 65_536
"""Rows held in memory at a time: 128 MiB of 512-d float32."""

UNIT_TOLERANCE = 1e-3
"""Rows whose norm differs from 1 by more are normalised."""


@dataclass(frozen=True, eq=False)
class DescriptorFile:
    """A memory-mapped (N, D) matrix of descriptors.

    Attributes:
        path: where it lies.
        matrix: (N, D), a floating dtype, on the disk until it is sliced.
        made_by: fingerprint of the descriptor that made it, when ``<stem>.json`` beside it says so.
    """

    path: Path
    matrix: np.ndarray
    made_by: str | None

    def __len__(self) -> int:
        return len(self.matrix)

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, (n, D) float32 unit-norm) pieces in order.

        Raises:
            ValueError: a row with a value that is not finite, or of length 0.
        """
        for start in range(0, len(self.matrix), rows):
            yield (
                start,
                _unit(np.array(self.matrix[start : start + rows], dtype=np.float32), self.path, start),
            )

    def sample(self, most: int, seed: int) -> np.ndarray:
        """At most ``most`` rows, (n, D) float32 unit-norm, in file order; the same for the same seed."""
        if len(self.matrix) <= most:
            return np.concatenate([chunk for _, chunk in self.chunks()])
        rows = np.sort(np.random.default_rng(seed).choice(len(self.matrix), most, replace=False))
        picked = np.array(self.matrix[rows], dtype=np.float32)
        return _unit(picked, self.path, None)

    def identity(self) -> dict[str, object]:
        """What tells this file from another: rows, dimension and SHA-256 of its bytes."""
        rows, dim = self.matrix.shape
        return {"rows": rows, "dim": dim, "sha256": sha256_file(self.path)}


def open_descriptors(path: Path) -> DescriptorFile:
    """Open a descriptor file without reading it.

    Args:
        path: .npy, or .pth/.pt holding one (N, D) tensor.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a whole file of that kind, or not a non-empty matrix of floating numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no descriptor file {path}; make one with scripts/extract_fts.py.")
    try:
        matrix = _npy(path) if path.suffix == ".npy" else _torch_matrix(path)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is not a whole .npy, .pth or .pt file of descriptors: {why}") from error
    if matrix.ndim != 2 or matrix.size == 0 or not np.issubdtype(matrix.dtype, np.floating):
        raise ValueError(
            f"{path} holds {matrix.dtype} of shape {tuple(matrix.shape)}; expected a matrix (N, D) of floats."
        )
    return DescriptorFile(path, matrix, _maker(path.with_suffix(".json")))


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


def _npy(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _torch_matrix(path: Path) -> np.ndarray:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        content = torch.load(path, map_location="cpu", weights_only=True)  # files of torch < 1.6
    if not isinstance(content, torch.Tensor):
        raise ValueError(f"it holds a {type(content).__name__}, expected one tensor (N, D)")
    return content.float().numpy() if content.dtype == torch.bfloat16 else content.numpy()


def _maker(side_car: Path) -> str | None:
    if not side_car.is_file():
        return None
    maker = json.loads(side_car.read_text()).get("descriptor_fingerprint")
    return maker if isinstance(maker, str) else None


def _unit(rows: np.ndarray, path: Path, start: int | None) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        where = "a sampled row" if start is None else f"row {start + int(bad[0])}"
        raise ValueError(
            f"{path}: {where} is zero or has a value that is not finite; extract the file again."
        )
    off = np.abs(norms - 1.0) > UNIT_TOLERANCE
    rows[off] /= norms[off, None]
    return rows
