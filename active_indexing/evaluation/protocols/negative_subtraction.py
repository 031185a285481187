"""Negative embedding subtraction: away from the training images that a descriptor is close to.

[ISC] Yokoo, "Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction for Accurate Copy
Detection", 2021, section 3.4 and the published program of the first place of ISC21's descriptor track.
"""

from __future__ import annotations

import numpy as np
import torch

from active_indexing.evaluation.protocols.exact_search import ExactSearch, best_per_query

NEIGHBOURS = 10
FACTOR = 0.35
# Weights of the neighbours that a training descriptor is smoothed with: similarity to this power.
POWER = 3
CHUNK = 16_384  # rows at a time: 320 MiB of ten neighbours of 512 values


def smoothed(training: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Training descriptors as means of their nearest ones, themselves among them, weighted by sim^3.

    Args:
        training: (T, D) float32 unit norm.
        neighbours: how many, at most T are used.

    Returns:
        (T, D) float32 unit norm.
    """
    nearest, similarities = _nearest(training, training, neighbours)
    weights = np.maximum(similarities, 0) ** POWER
    return _unit(_sums(weights, training, nearest))


def without_negatives(
    descriptors: np.ndarray, negatives: np.ndarray, *, factor: float = FACTOR, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """X <- x - factor * mean of the nearest negatives, at unit norm.

    Args:
        descriptors: (N, D) float32 unit norm.
        negatives: (T, D) float32 unit norm, smoothed descriptors of images that match nothing.
        factor: of the subtraction; 0 leaves descriptors as they are.
        neighbours: how many negatives, at most T are used.

    Returns:
        (N, D) float32 unit norm.
    """
    nearest, _ = _nearest(descriptors, negatives, neighbours)
    weights = np.full(nearest.shape, factor / nearest.shape[1])
    return _unit(descriptors - _sums(weights, negatives, nearest))


def _sums(weights: np.ndarray, among: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Weighted sums of the rows that each row names, (N, D) float64."""
    parts = [
        np.einsum("tk,tkd->td", weights[start : start + CHUNK], among[nearest[start : start + CHUNK]])
        for start in range(0, len(nearest), CHUNK)
    ]
    return np.concatenate(parts)


def _nearest(rows: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) int64 rows of ``among`` with the largest inner products, and these."""
    count = min(count, len(among))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = best_per_query(ExactSearch(rows, among, np.zeros(len(rows)), device), count)
    return found.references.reshape(len(rows), count), found.scores.reshape(len(rows), count)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
