"""How many descriptors an index should be trained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

POINTS_PER_CENTROID = 39
"""Training vectors per centroid below which FAISS warns (faiss ``ClusteringParameters``)."""

MAX_POINTS_PER_CENTROID = 256
"""Training vectors per centroid beyond which FAISS samples anyway (same source)."""

MAX_POINTS_PER_DIMENSION = 256
"""Training vectors per dimension of a PCA; the covariance hardly changes with more."""

SAMPLE_FLOOR = 65_536
"""Training vectors that are always used when there are so many."""


@dataclass(frozen=True)
class TrainingSizes:
    """Numbers of training descriptors.

    Attributes:
        least: with fewer the index can't be trained.
        good: with fewer the index is poor, and FAISS warns.
        most: with more the index does not become better.
    """

    least: int
    good: int
    most: int


def training_sizes(centroids: Sequence[int], transforms: Sequence[tuple[int, int]]) -> TrainingSizes:
    """What the parts of an index need, the most demanding part deciding.

    Args:
        centroids: number of centroids of every clustering in the index.
        transforms: (dimensions in, dimensions out) of every learned linear transform.
    """
    clusters = max(centroids, default=0)
    inward = max((d_in for d_in, _ in transforms), default=0)
    outward = max((d_out for _, d_out in transforms), default=0)
    return TrainingSizes(
        least=max(1, clusters, outward),
        good=max(1, POINTS_PER_CENTROID * clusters, inward),
        most=max(SAMPLE_FLOOR, MAX_POINTS_PER_CENTROID * clusters, MAX_POINTS_PER_DIMENSION * inward),
    )
