"""A store of made-up images: random unit vectors, files of random bytes, an index of eight cells."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.images.inventory import id_of_sha256
from active_indexing.index.code_index import Codec
from active_indexing.index.vector_index import new_index
from active_indexing.store.archive import Store, create_store
from active_indexing.store.contract import Contract
from active_indexing.store.rows import NewImage

DIM = 32


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@cache
def trained_bytes(factory: str = "IVF8,PQ4x4np", references: int = 20) -> bytes:
    index = new_index(factory, "L2", DIM)
    index.train(unit(400, 0))
    if references:
        index.add(unit(references, 1), np.arange(references))
    return index.to_bytes()


def contract(entries: int = 1, **changes: object) -> Contract:
    codec = Codec(trained_bytes())
    descriptor = {
        "name": "toy", "dim": DIM, "fingerprint": "f", "weights": "w", "architecture": "a",
        "preprocessing": "p", "postprocessing": None,
    }  # fmt: skip
    index = {
        "factory": "IVF8,PQ4x4np", "metric": "L2", "training": hashlib.sha256(codec.content).hexdigest(),
        "references": hashlib.sha256(trained_bytes()).hexdigest(), "code_size": codec.code_size,
    }  # fmt: skip
    for key, value in changes.items():
        part, _, name = key.partition("_")
        (descriptor if part == "descriptor" else index)[name] = value
    return Contract(descriptor, index, "passive", entries)


def make_store(folder: Path, entries: int = 1) -> Path:
    create_store(folder, contract(entries), trained_bytes(), [], {})
    return folder


def new_image(folder: Path, seed: int, entries: int = 1, write: bool = True) -> NewImage:
    """Image number ``seed``; its released file is written first, as a release does."""
    content = f"image {seed} ".encode() * 20
    source = hashlib.sha256(f"source {seed}".encode()).hexdigest()
    if write:
        write_bytes(folder / "released" / f"{seed:04d}.png", content)
    descriptor = unit(1, 10_000 + seed)[0]
    return NewImage(
        id=id_of_sha256(source), source=f"photos/{seed}.jpg", source_sha256=source,
        released=f"released/{seed:04d}.png", released_sha256=hashlib.sha256(content).hexdigest(),
        size=len(content), width=40, height=30, psnr=42.0, ssim=0.99, linf=3, descriptor=descriptor,
        entries=np.stack([descriptor, *unit(entries - 1, 20_000 + seed)]), quality={"ciede2000_p95": 1.25},
    )  # fmt: skip


def filled(folder: Path, count: int, entries: int = 1) -> Path:
    make_store(folder, entries)
    with Store.writing(folder) as store:
        run = store.database.begin_run({"made": "up"})
        for seed in range(count):
            store.append(run, [new_image(folder, seed, entries)])
    return folder
