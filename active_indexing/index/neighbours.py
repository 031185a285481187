"""What an index answers to one query, when several entries may have one id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Entries found for one query, best first, without the padding of unfilled places.

    Attributes:
        ids: (n,) int64, n <= k.
        distances: (n,) float32: squared L2 or Hamming distances ascending, or inner products descending.
    """

    ids: np.ndarray
    distances: np.ndarray

    def first_of_each(self, k: int) -> Neighbours:
        """The first k ids that differ, each with its best distance; fewer when fewer were found."""
        places = np.sort(np.unique(self.ids, return_index=True)[1])[:k]
        return Neighbours(self.ids[places], self.distances[places])


def most_of_one(ids: np.ndarray) -> int:
    """How often the most frequent of ids (N,) occurs; 1 when there are none."""
    return int(np.unique(ids, return_counts=True)[1].max(initial=1))


def best_ids(
    search: Callable[[np.ndarray, int], list[Neighbours]], queries: np.ndarray, k: int, most: int
) -> list[Neighbours]:
    """The k best ids of each query, each once, from a search for the best entries.

    Args:
        search: of queries (n, D), for so many entries of each.
        queries: (N, D) float32.
        k: ids wanted.
        most: entries of one id, at most.

    Returns:
        N answers; one is shorter than k when the search finds no more.
    """
    if most == 1:
        return search(queries, k)
    # One image with all its entries among the best is the rule, k such images the worst.
    wanted = k if k == 1 else k + most - 1
    found = search(queries, wanted)
    answers = [each.first_of_each(k) for each in found]
    while wanted < k * most:
        cut = [n for n, each in enumerate(found) if len(each.ids) == wanted and len(answers[n].ids) < k]
        if not cut:
            break
        wanted = min(2 * wanted, k * most)
        for n, each in zip(cut, search(queries[cut], wanted), strict=True):
            found[n], answers[n] = each, each.first_of_each(k)
    return answers
