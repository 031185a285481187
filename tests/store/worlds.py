"""A store of the toy world: real images, released as they are, described by the toy network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from active_indexing.config import RunConfig, configure
from active_indexing.release.into_store import StoreRelease
from active_indexing.store_run import release
from tests.conftest import Toy


def toy_config(toy: Toy, images: Path, **settings: Any) -> RunConfig:
    return configure(
        **{
            "data_dir": images, "output_dir": images, "active": False, "workers": 1, "verbose": 0,
            "model_name": "torchscript", "model_path": toy.model, "resize_size": toy.size,
            "fts_training_path": toy.training, "fts_reference_path": toy.references,
            "idx_factory": "IVF8,PQ8x4np", "idx_dir": toy.model.parent / "indexes",
        }
        | settings
    )  # fmt: skip


def some(toy: Toy, folder: Path, places: slice) -> Path:
    """A folder with some of the toy images."""
    folder.mkdir(exist_ok=True)
    for path in sorted(toy.images.glob("*.png"))[places]:
        shutil.copy(path, folder)
    return folder


def toy_release(toy: Toy, images: Path, store: Path, **settings: Any) -> StoreRelease:
    return release(toy_config(toy, images, **settings), store, frozen=not settings)


Released = Callable[[], Path]
