"""Ask a store about images that match nothing, and keep how near they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.images.any_image import AnyImage, srgb_of
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


@dataclass(frozen=True)
class Calibrated:
    """A calibration that is kept in its store.

    Attributes:
        path: of its file.
        calibration: what the verdicts rest on from now on.
        rate: share of foreign images that was asked for.
        threshold: score above which an answer is a match at this rate.
        interval: 95 % interval of the true rate; ``None`` where too few queries exceed the threshold to tell,
            or where the store's own images were asked about.
    """

    path: Path
    calibration: StoreCalibration
    rate: float
    threshold: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        count = 0 if self.calibration.strangers is None else self.calibration.strangers.count
        foreign = self.calibration.source == NON_MATCHING
        words = "foreign images" if foreign else "images of the store, each against the others"
        told = f"{count:,} {words}: a match scores above {self.threshold:.3f} at the rate {self.rate:g}"
        if self.interval is None:
            return told
        return f"{told} (true rate {self.interval[0]:.2g} to {self.interval[1]:.2g}, 95 %)"


def calibrate(
    folder: Path,
    config: QueryConfig,
    non_matching: Path | Sequence[AnyImage] | None,
    most: int,
    device: torch.device | None = None,
    progress: bool = True,
) -> Calibrated:
    """Calibrate a store and keep the result in it.

    Args:
        folder: of the store.
        config: how it will be asked.
        non_matching: folder of images that are not in it, or such images; ``None``: its own images, each
            against the others.
        most: images that are asked about at most, picked at random.
        device: where the descriptor runs.
        progress: show a bar with an estimate.

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
        assert made.strangers is not None, "measured() gives them or raises"
        rate, images = config.false_positive_rate, lookup.store.database.count_released()
        return Calibrated(
            save_calibration(lookup.store, made),
            made,
            rate,
            made.strangers.threshold(rate, images),
            made.interval(rate),
        )


def _foreign_images(non_matching: Path | Sequence[AnyImage], most: int) -> list[tuple[AnyImage, int | None]]:
    folder = isinstance(non_matching, Path)
    images: Sequence[AnyImage] = find_images(non_matching) if isinstance(non_matching, Path) else non_matching
    if not len(images):
        where = f" in {non_matching}: looked, in sub-folders too" if folder else ""
        raise FileNotFoundError(f"no images{where}.")
    return [(images[n], None) for n in np.random.default_rng(0).permutation(len(images))[:most]]


def _own_images(store: Store, most: int) -> list[tuple[AnyImage, int | None]]:
    rows = store.database.images(list(sample_ids(store, most)))
    return [(row.path(store.folder), row.id) for row in rows]


def _best_wrong(lookup: Lookup, image: AnyImage, own: int | None) -> float | None:
    """Score of the best answer that is wrong; ``None`` of an image that can't be read."""
    try:
        pixels, _ = srgb_of(image)
    except UnreadableImage:
        return None
    views = lookup.views_of(pixels)
    near = lookup.candidates(lookup.described(views), [view.kind for view in views])
    wrong: Iterator[float] = (found.score for found in near if found.id != own)
    return next(wrong, -np.inf)
