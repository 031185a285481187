"""Made-up vectors, images and indexes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.evaluation.stage import QueryImage
from active_indexing.images.decoding import read
from active_indexing.images.inventory import inventory
from active_indexing.index.config import IndexConfig
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex

CHUNK = 50_000


def write_unit_vectors(path: Path, count: int, dim: int, seed: int) -> Path:
    """Random unit vectors, (count, dim) float32 .npy, written piece by piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    for start in range(0, count, CHUNK):
        rows = rng.standard_normal((min(CHUNK, count - start), dim), dtype=np.float32)
        matrix[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    matrix.flush()
    return path


def write_images(folder: Path, count: int, side: int) -> Path:
    """``count`` smooth pictures, side x side, PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{number:05d}.png")
    return folder


def filled_indexes(
    work: Path, sizes: Sequence[int], factory: str, descriptor: Descriptor, training_rows: int
) -> dict[int, VectorIndex]:
    """One index per number of references, trained once, filled from files as main.py does."""
    training = write_unit_vectors(work / "training" / "fts.npy", training_rows, descriptor.dim, seed=0)
    indexes = {}
    for size in sizes:
        references = write_unit_vectors(work / "references" / f"{size}.npy", size, descriptor.dim, seed=1)
        config = IndexConfig(
            fts_training_path=training,
            fts_reference_path=references,
            idx_dir=work / "indexes",
            idx_factory=factory,
        )
        started = time.perf_counter()
        indexes[size] = prepare_index(config, descriptor.dim, descriptor.fingerprint).index
        print(f"{size:,} references ready in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        references.unlink()
    return indexes


def write_sized(sources: Path, folder: Path, count: int, megapixels: float) -> list[QueryImage]:
    """The first images of a folder, scaled to so many megapixels (Lanczos), as PNG."""
    folder.mkdir(parents=True)
    queries = []
    for number, source in enumerate(inventory(sources)[:count]):
        photo = Image.fromarray(read(source.path).srgb)
        scale = (1e6 * megapixels / (photo.width * photo.height)) ** 0.5
        size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
        path = folder / f"{number:05d}.png"
        photo.resize(size, Image.Resampling.LANCZOS).save(path, compress_level=1)
        queries.append(QueryImage(number, path, number, "1"))
    return queries
