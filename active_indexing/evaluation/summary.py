"""Numbers of a run, gathered while its CSVs are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from active_indexing.metrics.retrieval import average_precision_of_rank, micro_average_precision, recall_at
from active_indexing.records import NO_MATCH, Failure, QueryRow


@dataclass
class RetrievalSummary:
    """Recall per attack.

    Attributes:
        ranks: (attack, parameter text) -> ranks of its queries.
        retrieved: ids of references that were retrieved, for naming them.
    """

    ranks: dict[tuple[str, str], list[int | None]] = field(default_factory=dict)
    retrieved: set[int] = field(default_factory=set)

    def watch(self, rows: Iterable[tuple[int, QueryRow]]) -> Iterator[tuple[int, QueryRow]]:
        """Pass rows on and remember their ranks."""
        for block, row in rows:
            self.ranks.setdefault((row.attack, row.attack_param), []).append(row.rank)
            self.retrieved.update(row.ids.tolist())
            yield block, row

    def table(self) -> list[dict[str, Any]]:
        """One entry per attack: name, parameter, queries, r@1, r@10, r@100 and ap as means."""
        entries = []
        for (attack, param), ranks in self.ranks.items():
            entry: dict[str, Any] = {"attack": attack, "attack_param": param, "n": len(ranks)}
            for k in (1, 10, 100):
                entry[f"r@{k}"] = float(np.mean([recall_at(rank, k) for rank in ranks]))
            entry["ap"] = float(np.mean([average_precision_of_rank(rank) for rank in ranks]))
            entries.append(entry)
        return entries


@dataclass
class CopyDetectionSummary:
    """Micro average precision of all (query, answer) pairs, scored by minus distance or by inner product.

    Attributes:
        larger_is_better: whether the index gives inner products.
        scores: of every pair.
        correct: whether the pair is right.
        matching: queries with a match.
        others: queries without one.
        retrieved: ids of references that were retrieved.
    """

    larger_is_better: bool
    scores: list[np.ndarray] = field(default_factory=list)
    correct: list[np.ndarray] = field(default_factory=list)
    matching: int = 0
    others: int = 0
    retrieved: set[int] = field(default_factory=set)

    def watch(self, rows: Iterable[tuple[int, QueryRow]]) -> Iterator[tuple[int, QueryRow]]:
        """Pass rows on and remember their pairs."""
        for block, row in rows:
            self.matching += row.image_index != NO_MATCH
            self.others += row.image_index == NO_MATCH
            self.scores.append(row.distances if self.larger_is_better else -row.distances)
            self.correct.append(row.ids == row.image_index)
            self.retrieved.update(row.ids.tolist())
            yield block, row

    def table(self) -> dict[str, Any]:
        """``uAP`` and the two numbers of queries; empty when no query has a match."""
        if not self.matching:
            return {}
        scores = np.concatenate(self.scores) if self.scores else np.zeros(0)
        correct = np.concatenate(self.correct) if self.correct else np.zeros(0, dtype=bool)
        precision = micro_average_precision(scores, correct, self.matching)
        return {"uAP": precision, "matching": self.matching, "non_matching": self.others}


def failure_counts(failures: Iterable[Failure]) -> dict[str, int]:
    """Number of failed attacks per stage and attack."""
    counts: dict[str, int] = {}
    for failure in failures:
        key = f"{failure.stage}/{failure.attack}"
        counts[key] = counts.get(key, 0) + 1
    return counts
