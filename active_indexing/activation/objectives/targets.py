"""Rules that choose where in descriptor space an image should land."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from active_indexing.index.vector_index import VectorIndex
from active_indexing.registry import Registry

TargetRule = Callable[[VectorIndex, np.ndarray], np.ndarray]
"""(index, (N, D) original descriptors) -> (N, D) float32 targets."""


def pq_recons(index: VectorIndex, descriptors: np.ndarray) -> np.ndarray:
    """The vector that the index will remember of the original: its centroid plus its quantised residual."""
    return index.reconstruct(descriptors)


def ori_ft(index: VectorIndex, descriptors: np.ndarray) -> np.ndarray:
    """The original descriptor itself."""
    return np.array(descriptors, dtype=np.float32)


def ivf_cluster(index: VectorIndex, descriptors: np.ndarray) -> np.ndarray:
    """The centroid of the original's cell."""
    cells = index.cells(descriptors)
    return index.centroids(np.zeros(0, dtype=np.int64) if cells is None else cells)


def ivf_cluster_half(index: VectorIndex, descriptors: np.ndarray) -> np.ndarray:
    """The midpoint of the original and the centroid of its cell, (x + c) / 2.

    The published program halved the original alone; the midpoint is what its name and help say.
    """
    return (ivf_cluster(index, descriptors) + descriptors.astype(np.float32)) / 2


TARGETS: Registry[TargetRule] = Registry(
    "target",
    {
        "pq_recons": pq_recons,
        "ori_ft": ori_ft,
        "ivf_cluster": ivf_cluster,
        "ivf_cluster_half": ivf_cluster_half,
    },
    group="active_indexing.targets",
)


def target_rule(name: str) -> TargetRule:
    """The rule of that name.

    Raises:
        ValueError: no such rule.
    """
    return TARGETS[name]


def check_target(name: str, index: VectorIndex) -> None:
    """Raise now, before any image is touched, if the index can't give this target.

    Raises:
        ValueError: unknown name, or an index that can't say where a vector lands.
    """
    probe = np.zeros((1, index.dim), dtype=np.float32)
    probe[0, 0] = 1.0
    target_rule(name)(index, probe)
