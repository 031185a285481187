"""The figures of a run with views of its copies: what ``query`` would make of the same index."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from active_indexing.config import RunConfig
from active_indexing.evaluation.copies import ViewSearch
from active_indexing.evaluation.harness import EvaluationHarness, ProtectedImages
from active_indexing.evaluation.view_copies import VIEWS_CSV, evaluate_views
from active_indexing.extraction.matrix_file import DescriptorMatrix, open_descriptors
from active_indexing.index.neighbours import Neighbours
from active_indexing.index.preparation import PreparedIndex
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.resources import threads_for, workers_for
from active_indexing.query.lookup import QueryConfig
from active_indexing.query.reranking import HANDICAPS, ranked
from active_indexing.query.strangers import spread_of
from active_indexing.query.views import parts
from active_indexing.records import Failure
from active_indexing.release.folder import FolderRelease

SAMPLED = 1000
"""Released images, and references, that the spread of similarities is taken from: 8 MB of pairs."""

DIRECTIONS = 100
"""Random directions near which references are looked for where only the index has them."""


@dataclass(frozen=True)
class ViewRetrieval:
    """What a run tells of its copies looked at in parts.

    Attributes:
        content: for ``run.json``.
        failures: attacks that failed.
    """

    content: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def view_retrieval(
    config: RunConfig,
    release: FolderRelease,
    evaluation: EvaluationHarness,
    protected: ProtectedImages,
    prepared: PreparedIndex,
) -> ViewRetrieval:
    """Attack some of the released images again and search their copies in parts; nothing where it is off.

    Candidates of all views are scored exactly on the descriptors that the index was given: those of released
    images, and of the references where ``--fts_reference_path`` has them. Of the embedded references only
    codes are known: what these remember stands for them.

    Args:
        config: of the run.
        release: its released images.
        evaluation: its evaluation.
        protected: released images that are left.
        prepared: the index with references and released images.
    """
    csv = config.output_dir / VIEWS_CSV
    asked = evaluation.viewed(protected.queries)
    if not (asked and config.evaluation.eval_retrieval):
        csv.unlink(missing_ok=True)
        return ViewRetrieval()
    entries = {s.id: r.entries for s, r in release.items() if r.entries is not None}
    path = config.index.fts_reference_path

    def made() -> ViewSearch:
        references = None if path is None else open_descriptors(path)
        return ViewSearch(parts, SearchByViews(prepared, entries, references, config.index.nprobe))

    try:
        table, failures, gone = evaluate_views(
            evaluation,
            protected,
            asked,
            prepared.index,
            made,
            csv,
            settings={"candidates": QueryConfig.candidates, "handicaps": HANDICAPS},
            workers=workers_for(config.workers),
            threads=threads_for(config.workers),
        )
    except NotDecodedError as error:
        warnings.warn(f"no figures with views: {error}", stacklevel=2)
        csv.unlink(missing_ok=True)
        return ViewRetrieval()
    if gone:
        warnings.warn(
            f"{len(gone):,} released images were removed before they were asked about with views; run again "
            "with --existing overwrite for their figures.",
            stacklevel=2,
        )
    if not table:
        csv.unlink(missing_ok=True)
        return ViewRetrieval({}, failures)
    return ViewRetrieval({"views_retrieval": table}, failures)


class NotDecodedError(ValueError):
    """The index can't say what it remembers of its references."""


class SearchByViews:
    """Candidates of all views from the index, scored exactly; safe in threads.

    Args:
        prepared: the index with references and released images.
        entries: id of a released image to its (K, D) float32 descriptors.
        references: descriptors of the references, where they are known.
        nprobe: cells visited per view.

    Raises:
        NotDecodedError: neither descriptors of the references nor codes that can be decoded.
    """

    def __init__(
        self,
        prepared: PreparedIndex,
        entries: Mapping[int, np.ndarray],
        references: DescriptorMatrix | None,
        nprobe: int,
    ) -> None:
        self._index, self._entries, self._nprobe = prepared.index, entries, nprobe
        self._references, self._first = references, prepared.first_reference
        own = np.stack([each[0] for each in list(entries.values())[:SAMPLED]])
        others = _remembered(prepared.index) if references is None else references.sample(SAMPLED, seed=0)
        self._spread = spread_of(np.concatenate([own, others]))

    def __call__(self, described: np.ndarray, kinds: Sequence[str], k: int) -> Neighbours:
        """The k best images, with squared distances that stand for the scores of ``query``, ascending.

        Args:
            described: (V, D) float32 of the views, unit norm.
            kinds: of each view.
            k: wanted.
        """
        ids, vectors = self._index.neighbours(described, QueryConfig.candidates, self._nprobe)
        stored: dict[int, np.ndarray] = {}
        for image_id, vector in zip(ids.ravel().tolist(), vectors.reshape(-1, vectors.shape[2]), strict=True):
            if image_id >= 0 and image_id not in stored:
                stored[image_id] = self._descriptors(image_id, vector)
        best = ranked(described, kinds, stored, self._spread)[:k]
        scores = np.array([each.score for each in best], np.float32)
        return Neighbours(np.array([each.id for each in best], np.int64), 2 - 2 * scores)

    def _descriptors(self, image_id: int, remembered: np.ndarray) -> np.ndarray:
        if image_id in self._entries:
            return self._entries[image_id]
        row = image_id - self._first
        if self._references is not None and row >= 0:
            return self._references.read(row, row + 1).astype(np.float32)
        if not np.isfinite(remembered).all():
            raise NotDecodedError(f"{self._index.factory} does not decode the codes of its references.")
        return remembered[None]


def _remembered(index: VectorIndex) -> np.ndarray:
    """What an index remembers of entries from all over it, (n, D) float32 of unit norm; n may be 0."""
    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, index.dim), np.float32)
    _, found = index.neighbours(directions, SAMPLED // DIRECTIONS, nprobe=1)
    vectors = found.reshape(-1, index.dim)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
