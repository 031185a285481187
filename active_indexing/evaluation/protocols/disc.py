"""The protocol of the Image Similarity Challenge 2021 on DISC21: match queries, rank all pairs, measure.

[ISC21] Douze et al., "The 2021 Image Similarity Dataset and Challenge", 2021.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from active_indexing.evaluation.protocols.codecs import fit_codec
from active_indexing.evaluation.protocols.exact_search import ExactSearch, best_pairs, best_per_query
from active_indexing.evaluation.protocols.predictions import GroundTruth, Predictions, rank_predictions
from active_indexing.evaluation.protocols.score_normalization import ScoreNormalization
from active_indexing.extraction.named_descriptors import NamedDescriptors
from active_indexing.metrics import ranking
from active_indexing.metrics.bootstrap import Interval, bootstrap
from active_indexing.metrics.ranking import RankedPairs

FIGURES = ("uAP", "accuracy-at-1", "recall-at-p90", "threshold-at-p90", "recall-at-10")
"""Names of the figures; the first three are the columns of SSCD's evaluation."""


@dataclass(frozen=True)
class DiscFiles:
    """Where the parts of the data set lie; ``training`` may be absent."""

    queries: Path
    references: Path
    training: Path | None
    ground_truth: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class DiscData:
    """Descriptors of the parts of the data set.

    Attributes:
        queries: of the queries.
        references: of the references.
        training: of images that match no query, for codecs and score normalisation.
    """

    queries: NamedDescriptors
    references: NamedDescriptors
    training: NamedDescriptors | None = None

    def __post_init__(self) -> None:
        for what, part in (("queries", self.queries), ("references", self.references)):
            if len(set(part.ids)) != len(part):
                twice = Counter(part.ids).most_common(1)[0][0]
                raise ValueError(f"two {what} are called {twice}; names tell images apart.")


@dataclass(frozen=True)
class DiscResult:
    """What a set of predictions is worth.

    Attributes:
        predictions: number of predicted pairs.
        matches: number of right pairs that exist.
        figures: value of each of ``FIGURES``; the threshold is infinite when the precision is not reached.
        intervals: their 95 % intervals over queries; empty when none were asked for.
    """

    predictions: int
    matches: int
    figures: dict[str, float]
    intervals: dict[str, Interval]

    def printed(self) -> str:
        """The lines that the challenge's program prints."""
        lines = [
            f"Track 1 results of {self.predictions} predictions ({self.matches} GT matches)",
            f"Average Precision: {self.figures['uAP']:.5f}",
            f"Recall at P90    : {self.figures['recall-at-p90']:.5f}",
            f"Threshold at P90 : {self.figures['threshold-at-p90']:g}",
            f"Recall at rank 1:  {self.figures['accuracy-at-1']:.5f}",
            f"Recall at rank 10: {self.figures['recall-at-10']:.5f}",
        ]
        if math.isinf(self.figures["threshold-at-p90"]):
            lines[2:4] = ["Does not reach P90"]
        return "\n".join(lines)

    def interval_lines(self) -> list[str]:
        """One line per figure that has an interval."""
        return [
            f"{name}: {self.figures[name]:.5g}, 95 % interval {interval.low:.5g} to {interval.high:.5g}"
            for name, interval in self.intervals.items()
        ]


def disc_layout(root: Path, split: str = "dev") -> DiscFiles:
    """Find the parts of DISC21 in a folder.

    Two layouts are known: SSCD's ``val_query``, ``val_ref``, ``training``, ``val_groundtruth_matches.csv``,
    and the release's ``<split>_queries``, ``references``, ``train``, ``<split>_queries_groundtruth.csv``.

    Args:
        root: the folder.
        split: ``dev`` or ``test``, for the second layout.

    Raises:
        FileNotFoundError: neither layout is whole; only training images may be absent.
    """
    layouts = (
        ("val_query", "val_ref", "training", "val_groundtruth_matches.csv"),
        (f"{split}_queries", "references", "train", f"{split}_queries_groundtruth.csv"),
    )
    for queries, references, training, truth in layouts:
        found = DiscFiles(root / queries, root / references, root / training, root / truth)
        if found.queries.is_dir() and found.references.is_dir() and found.ground_truth.is_file():
            return found if (root / training).is_dir() else replace(found, training=None)
    wanted = " nor ".join(
        f"{queries}/, {references}/ and {truth}" for queries, references, _, truth in layouts
    )
    raise FileNotFoundError(
        f"{root} has neither {wanted}; unpack DISC21 there, or name the parts one by one."
    )


def encode(data: DiscData, codec: str) -> DiscData:
    """All descriptors after a codec that is fitted to the training descriptors.

    Raises:
        ValueError: the codec is unknown, or can't be fitted.
    """
    transform = fit_codec(codec, None if data.training is None else data.training.vectors)

    def encoded(part: NamedDescriptors) -> NamedDescriptors:
        return NamedDescriptors(part.names, transform(part.vectors))

    return DiscData(
        queries=encoded(data.queries),
        references=encoded(data.references),
        training=None if data.training is None else encoded(data.training),
    )


def predict(
    data: DiscData,
    normalization: ScoreNormalization | None,
    *,
    k: int = 10,
    global_candidates: bool = False,
    inner_product: bool = False,
    device: torch.device,
) -> Predictions:
    """Search the queries among the references.

    Args:
        data: encoded descriptors.
        normalization: of inner products; ``None``: scores are minus squared L2 distances.
        k: candidates per query.
        global_candidates: the k x Q best pairs of all Q queries, instead of the k best of each.
        inner_product: without normalisation, scores are inner products.
        device: where descriptors are compared.

    Raises:
        ValueError: no training images to normalise with, or k below 1.
    """
    if k < 1:
        raise ValueError(f"the number of candidates per query must be at least 1, got {k}.")
    offsets = np.zeros(len(data.queries)) if inner_product else None
    if normalization is not None:
        if data.training is None:
            raise ValueError(
                f"score normalisation {normalization.name} needs descriptors of training images."
            )
        offsets = normalization.offsets(data.queries.vectors, data.training.vectors, device)
    search = ExactSearch(data.queries.vectors, data.references.vectors, offsets, device)
    found = best_pairs(search, k * len(data.queries)) if global_candidates else best_per_query(search, k)
    query_ids, reference_ids = data.queries.ids, data.references.ids
    return Predictions(
        tuple(query_ids[row] for row in found.queries),
        tuple(reference_ids[row] for row in found.references),
        found.scores,
    )


def figures(pairs: RankedPairs) -> dict[str, float]:
    """The values of ``FIGURES``."""
    point = ranking.recall_at_precision(pairs, 0.9)
    return {
        "uAP": ranking.average_precision(pairs),
        "accuracy-at-1": ranking.accuracy_at_1(pairs),
        "recall-at-p90": point.recall,
        "threshold-at-p90": point.threshold,
        "recall-at-10": ranking.recall_at_rank(pairs, 10),
    }


def evaluate(
    predictions: Predictions,
    truth: GroundTruth,
    queries: Iterable[str] = (),
    *,
    replicates: int = 0,
    seed: int = 0,
) -> DiscResult:
    """Measure predictions.

    Args:
        predictions: pairs, each at most once.
        truth: right pairs.
        queries: names of all queries that were searched.
        replicates: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.

    Raises:
        ValueError: a pair that is predicted twice.
    """
    pairs = rank_predictions(predictions, truth, queries)
    intervals = bootstrap(pairs, figures, replicates=replicates, seed=seed) if replicates else {}
    return DiscResult(len(predictions), len(truth.pairs), figures(pairs), intervals)


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision against recall, one point per right pair that was predicted, best first.

    Attributes:
        recall, precision: (n,) float64 of all pairs down to that one.
        threshold: (n,) float64, its score.
    """

    recall: np.ndarray
    precision: np.ndarray
    threshold: np.ndarray


def curve(predictions: Predictions, truth: GroundTruth) -> Curve:
    """The curve whose area is the uAP.

    Raises:
        ValueError: a pair that is predicted twice.
    """
    pairs = rank_predictions(predictions, truth)
    places = np.flatnonzero(pairs.correct)
    right = np.arange(1, len(places) + 1)
    return Curve(right / len(truth.pairs), right / (places + 1), pairs.scores[places])


def undescribed(data: DiscData, truth: GroundTruth) -> int:
    """Right pairs of which an image has no descriptor, so that they can't be found."""
    queries, references = set(data.queries.ids), set(data.references.ids)
    return sum(query not in queries or reference not in references for query, reference in truth.pairs)
