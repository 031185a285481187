"""What the verdicts of a store rest on: queries that match nothing, or else an estimate from its images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from active_indexing.artefacts.atomic import write_json
from active_indexing.query.reranking import ranked
from active_indexing.query.strangers import LEAST_SCORES, Strangers, fitted, leave_one_out, spread_of
from active_indexing.query.views import WHOLE
from active_indexing.store.archive import Store
from active_indexing.store.errors import StoreError
from active_indexing.store.search import CandidateSearch, sample_ids

FORMAT = "active_indexing.store_calibration/1"
FILE_NAME = "calibration.json"

SAMPLE = 300
"""Images that an estimate asks the store about, 0.3 s."""

NEAREST, NPROBE = 10, 16
"""Candidates that are scored exactly for each of them, and cells visited."""

FEW = 50
"""A store of fewer images is compared with the references of its index as well."""

VIEWS = 1.3
"""Views, with their handicaps, bring strangers as near as a store of so many times the images does (photos
200-239, 15 attacks, 60,000 references: the median of their best scores rises from 0.553 to 0.559)."""

NON_MATCHING, OWN_IMAGES, ESTIMATE = "non-matching queries", "own images", "estimate"


@dataclass(frozen=True)
class StoreCalibration:
    """How near strangers come to the images of a store.

    Attributes:
        strangers: their best scores; ``None`` when too little is known.
        spread: standard deviation of the similarity of strangers, the unit of the views' handicaps.
        source: ``non-matching queries``, ``own images`` (leave one out) or ``estimate`` (leave one out, from
            the descriptors alone).
        views: whether queries were looked at in parts.
        references: whether references of the index stood for the queries, each against all images.
    """

    strangers: Strangers | None
    spread: float
    source: str
    views: bool
    references: bool = False

    def notes(self, store: Store) -> list[str]:
        """What people should know about verdicts that rest on it."""
        command = f"`active-indexing calibrate {store.folder} --non_matching FOLDER`"
        if self.strangers is None:
            return [f"no thresholds: the store has too few images to estimate them; {command} measures them"]
        if self.source == NON_MATCHING:
            grown = store.database.count_released() / max(1, self.strangers.images)
            return (
                [f"the store has grown {grown:.1f} times since its calibration; {command} renews it"]
                if grown > 2
                else []
            )
        own = "images of the store, each against the others"
        words = "references of its index" if self.references else own
        return [f"thresholds are estimated from {self.strangers.count:,} {words}; {command} measures them"]

    def interval(self, rate: float) -> tuple[float, float] | None:
        """95 % interval of the true false-positive rate; ``None`` for what was not measured."""
        exceed = None if self.strangers is None else self.strangers.exceeding(rate)
        if self.strangers is None or exceed is None:
            return None
        ends = stats.beta.ppf([0.025, 0.975], exceed + 1, len(self.strangers.scores) - exceed)
        return float(ends[0]), float(ends[1])


def estimated(store: Store, search: CandidateSearch, views: bool) -> StoreCalibration:
    """From the descriptors in the store: every image of a sample against all others.

    Of fewer than ``LEAST_SCORES`` images there is no distribution: then references of the index, what their
    codes remember, are the queries.

    Args:
        store: open.
        search: its index.
        views: whether queries will be looked at in parts, each of which has a chance.
    """
    stored = store.database.descriptors(sample_ids(store, SAMPLE))
    own = (
        np.stack([each[0] for each in stored.values()])
        if stored
        else np.empty((0, store.codec.dim), np.float32)
    )
    images = store.database.count_released()
    others = store.strangers if images < FEW else store.strangers[:0]
    references = 0 < len(own) < LEAST_SCORES <= len(others)
    if references:
        strangers = fitted((others @ own.T).max(axis=1), len(own))
    elif images < FEW:
        strangers = fitted(leave_one_out(own, others), len(own) - 1 + len(others))
    else:
        best = [_best_other(store, search, image, own[n]) for n, image in enumerate(stored)]
        strangers = fitted(np.array(best), images)
    spread = spread_of(np.concatenate([own, others]))
    if strangers is not None and views:
        strangers = strangers.of_views(VIEWS)
    return StoreCalibration(strangers, spread, ESTIMATE, views, references)


def _best_other(store: Store, search: CandidateSearch, image: int, descriptor: np.ndarray) -> float:
    """Score of the image that is nearest to this one."""
    ids = search.candidates(descriptor[None], NEAREST, NPROBE)
    near = ranked(descriptor[None], [WHOLE], store.database.descriptors(ids), spread=0)
    return next((found.score for found in near if found.id != image), -np.inf)


def measured(
    store: Store, scores: Iterable[float], spread: float, views: bool, source: str
) -> StoreCalibration:
    """From the best scores of queries.

    Args:
        store: open.
        scores: of the best wrong answer of each; ``-inf`` without one.
        spread: with which they were ranked.
        views: whether queries were looked at in parts.
        source: ``NON_MATCHING`` or ``OWN_IMAGES``.

    Raises:
        StoreError: too few.
    """
    best = np.array(list(scores))
    strangers = fitted(best, store.database.count_released())
    if strangers is None:
        raise StoreError(
            f"{len(best)} queries are too few to calibrate with; give --non_matching a larger folder."
        )
    if source == NON_MATCHING:
        ordered = np.sort(best[np.isfinite(best)])[::-1]
        strangers = Strangers(**{**asdict(strangers), "scores": tuple(float(score) for score in ordered)})
    return StoreCalibration(strangers, spread, source, views)


def save_calibration(store: Store, calibration: StoreCalibration) -> Path:
    """Keep a calibration in the store's folder."""
    path, content = store.folder / FILE_NAME, asdict(calibration)
    del content["references"]  # of estimates alone, which are not kept
    write_json(path, {"format": FORMAT, "contract": store.contract.fingerprint, **content})
    return path


def load_or_estimate(store: Store, search: CandidateSearch, views: bool) -> StoreCalibration:
    """The calibration that was kept for queries of this kind, or an estimate.

    Raises:
        StoreError: a damaged file, or one of another store.
    """
    path = store.folder / FILE_NAME
    if not path.is_file():
        return estimated(store, search, views)
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if content.pop("format") != FORMAT or content.pop("contract") != store.contract.fingerprint:
            raise ValueError("of another format or another store")
        strangers = content.pop("strangers")
        known = (
            None if strangers is None else Strangers(**{**strangers, "scores": tuple(strangers["scores"])})
        )
        kept = StoreCalibration(strangers=known, **content)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} can't be used ({error}); delete it, or run `active-indexing calibrate` again."
        ) from error
    return kept if kept.views == views else estimated(store, search, views)
