"""Exact search for candidate pairs: the k best references of each query, or the best pairs of all.

Similarities of blocks choose the candidates; their scores are then computed anew in float64 from the
vectors, so that they depend neither on the block size nor on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

QUERY_BLOCK = 256
"""Queries compared at a time."""

REFERENCE_BLOCK = 16_384
"""References compared at a time; with ``QUERY_BLOCK`` 16 MiB of similarities."""

RESCORED = 8192
"""Pairs whose score is computed at a time: 64 MiB of 512-d float64."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of rows, ordered by query and then best first.

    Attributes:
        queries: (N,) int64 rows.
        references: (N,) int64 rows.
        scores: (N,) float64, larger is better.
    """

    queries: np.ndarray
    references: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class ExactSearch:
    """What is searched and how pairs are scored.

    Attributes:
        queries: (Q, D) floats.
        references: (R, D) floats, which may be memory-mapped.
        offsets: (Q,) subtracted from the inner product; ``None``: the score is minus the squared L2 distance.
        device: where blocks are compared.
    """

    queries: np.ndarray
    references: np.ndarray
    offsets: np.ndarray | None
    device: torch.device

    def __post_init__(self) -> None:
        if self.queries.shape[1] != self.references.shape[1]:
            raise ValueError(
                f"queries have descriptors of {self.queries.shape[1]} dimensions, references of "
                f"{self.references.shape[1]}; extract both with one descriptor."
            )

    def blocks(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first query, first reference, (q, r) float32 scores), query block by query block."""
        starts = range(0, len(self.queries), QUERY_BLOCK)
        for first_query in tqdm(starts, "search", leave=False, unit=" blocks", disable=None, delay=2):
            queries = self._block(self.queries, first_query, QUERY_BLOCK)
            for first in range(0, len(self.references), REFERENCE_BLOCK):
                references = self._block(self.references, first, REFERENCE_BLOCK)
                products = queries @ references.T
                if self.offsets is None:
                    lengths = queries.square().sum(1)[:, None] + references.square().sum(1)
                    yield first_query, first, 2 * products - lengths
                else:
                    offsets = self.offsets[first_query : first_query + len(queries)].astype(np.float32)
                    yield first_query, first, products - torch.from_numpy(offsets).to(self.device)[:, None]

    def scored(self, queries: np.ndarray, references: np.ndarray) -> Candidates:
        """Pairs of rows with their exact scores, in order."""
        scores = np.empty(len(queries))
        for start in range(0, len(queries), RESCORED):
            part = slice(start, start + RESCORED)
            left = self.queries[queries[part]].astype(np.float64)
            right = self.references[references[part]].astype(np.float64)
            if self.offsets is None:
                scores[part] = 0.0 - np.square(left - right).sum(axis=1)  # 0 and not -0 for a copy
            else:
                scores[part] = (left * right).sum(axis=1) - self.offsets[queries[part]]
        order = np.lexsort((references, -scores, queries))
        return Candidates(queries[order], references[order], scores[order])

    def _block(self, rows: np.ndarray, first: int, size: int) -> torch.Tensor:
        block = np.array(rows[first : first + size], dtype=np.float32)
        return torch.from_numpy(block).to(self.device)


def best_per_query(search: ExactSearch, k: int) -> Candidates:
    """The k best references of every query; all of them when there are fewer."""
    k = min(k, len(search.references))
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for first_query, first, scores in search.blocks():
        top = scores.topk(min(k, scores.shape[1]), dim=1)
        values, rows = top.values, top.indices + first
        if first_query in found:
            values = torch.cat([found[first_query][0], values], dim=1)
            rows = torch.cat([found[first_query][1], rows], dim=1)
            best = values.topk(min(k, values.shape[1]), dim=1)
            values, rows = best.values, rows.gather(1, best.indices)
        found[first_query] = values, rows
    references = [rows.cpu().numpy() for _, rows in found.values()]
    if not references:
        return search.scored(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return search.scored(np.repeat(np.arange(len(search.queries)), k), np.concatenate(references).ravel())


def best_pairs(search: ExactSearch, count: int) -> Candidates:
    """The best pairs of all queries together, so that a query may have many and another none.

    Args:
        search: what is searched.
        count: pairs wanted, at least 1.
    """
    kept = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    waiting: list[tuple[torch.Tensor, torch.Tensor]] = []
    worst, number = -float("inf"), 0
    width = len(search.references)
    for first_query, first, scores in search.blocks():
        rows, columns = torch.nonzero(scores > worst, as_tuple=True)
        waiting.append((scores[rows, columns].cpu(), ((rows + first_query) * width + columns + first).cpu()))
        number += len(rows)
        if number > count:
            kept = _best([kept, *waiting], count)
            waiting, number = [], 0
            worst = float(kept[0].min())
    _, pairs = _best([kept, *waiting], count)
    return search.scored(*np.divmod(pairs.numpy(), max(width, 1)))


def _best(parts: list[tuple[torch.Tensor, torch.Tensor]], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, pairs = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    best = values.topk(min(count, len(values)))
    return best.values, pairs[best.indices]
