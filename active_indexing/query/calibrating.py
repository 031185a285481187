"""Ask a store about images that match nothing, and keep how near they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from active_indexing.images.any_image import srgb_of
from active_indexing.images.header import UnreadableImage
from active_indexing.images.listing import find_images
from active_indexing.parallel.progress import progress_bar
from active_indexing.query.lookup import Lookup, QueryConfig
from active_indexing.query.store_calibration import (
    NON_MATCHING,
    OWN_IMAGES,
    StoreCalibration,
    measured,
    save_calibration,
)
from active_indexing.store.archive import Store
from active_indexing.store.search import sample_ids


def calibrate(
    folder: Path,
    config: QueryConfig,
    non_matching: Path | None,
    most: int,
    device: torch.device | None = None,
    progress: bool = True,
) -> tuple[Path, str]:
    """Calibrate a store and keep the result in it.

    Args:
        folder: of the store.
        config: how it will be asked.
        non_matching: folder of images that are not in it; ``None``: its own images, each against the others.
        most: images that are asked about at most, picked at random.
        device: where the descriptor runs.
        progress: show a bar with an estimate.

    Returns:
        Where it is kept, and what it says.

    Raises:
        StoreError: too few images, or a store that can't be used.
        FileNotFoundError: no store, or no images.
    """
    with Lookup(folder, config, device) as lookup:
        if non_matching is None:
            queries = _own_images(lookup.store, most)
        else:
            queries = _foreign_images(non_matching, most)
        scores = [
            _best_wrong(lookup, *query)
            for query in progress_bar(queries, desc="calibrate", unit="img", disable=not progress)
        ]
        source = OWN_IMAGES if non_matching is None else NON_MATCHING
        known = [score for score in scores if score is not None]
        made = measured(lookup.store, known, lookup.calibration.spread, config.views, source)
        return save_calibration(lookup.store, made), _told(made, config, lookup.store)


def _foreign_images(folder: Path, most: int) -> list[tuple[Path, int | None]]:
    paths = find_images(folder)
    if not paths:
        raise FileNotFoundError(f"no images in {folder}: looked, in sub-folders too.")
    return [(paths[n], None) for n in np.random.default_rng(0).permutation(len(paths))[:most]]


def _own_images(store: Store, most: int) -> list[tuple[Path, int | None]]:
    rows = store.database.images(list(sample_ids(store, most)))
    return [(row.path(store.folder), row.id) for row in rows]


def _best_wrong(lookup: Lookup, path: Path, own: int | None) -> float | None:
    """Score of the best answer that is wrong; ``None`` of an image that can't be read."""
    try:
        pixels, _ = srgb_of(path)
    except UnreadableImage:
        return None
    views = lookup.views_of(pixels)
    near = lookup.candidates(lookup.described(views), [view.kind for view in views])
    wrong: Iterator[float] = (found.score for found in near if found.id != own)
    return next(wrong, -np.inf)


def _told(made: StoreCalibration, config: QueryConfig, store: Store) -> str:
    rate, strangers = config.false_positive_rate, made.strangers
    assert strangers is not None, "measured() gives them or raises"
    threshold = strangers.threshold(rate, store.database.count_released())
    words = (
        "foreign images" if made.source == NON_MATCHING else "images of the store, each against the others"
    )
    told = f"{strangers.count:,} {words}: a match scores above {threshold:.3f} at the rate {rate:g}"
    interval = made.interval(rate)
    return told if interval is None else f"{told} (true rate {interval[0]:.2g} to {interval[1]:.2g}, 95 %)"
