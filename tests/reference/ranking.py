"""Slow and obvious versions of the metrics of ranked pairs, on lists of (query, score, correct)."""

from __future__ import annotations

Pair = tuple[int, float, bool]


def ranked(pairs: list[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[2]))


def micro_average_precision(pairs: list[Pair], positives: int) -> float:
    """Area under the steps of the precision-recall curve."""
    area = recall = 0.0
    right = 0
    for seen, (_, _, correct) in enumerate(ranked(pairs), start=1):
        right += correct
        area += (right / positives - recall) * (right / seen)
        recall = right / positives
    return area


def recall_at_precision(pairs: list[Pair], positives: int, least: float) -> tuple[float, float]:
    best, threshold, right = -1.0, float("inf"), 0
    for seen, (_, score, correct) in enumerate(ranked(pairs), start=1):
        right += correct
        if right / seen >= least and right / positives > best:
            best, threshold = right / positives, score
    return max(best, 0.0), threshold


def recall_at_rank(pairs: list[Pair], positives: int, k: int) -> float:
    hits = 0
    for query, score, correct in pairs:
        not_worse = sum(other >= score for q, other, _ in pairs if q == query)
        hits += correct and not_worse - 1 < k
    return hits / positives


def trapezoid_average_precision(pairs: list[Pair], positives: int) -> float:
    total, right = 0.0, 0
    for place, (_, _, correct) in enumerate(ranked(pairs)):
        if not correct:
            continue
        before = 1.0 if place == 0 else right / place
        right += 1
        total += (before + right / (place + 1)) / 2
    return total / positives


def mean_average_precision(pairs: list[Pair], positives: list[int]) -> float:
    values = [
        trapezoid_average_precision([pair for pair in pairs if pair[0] == query], count)
        for query, count in enumerate(positives)
        if count
    ]
    return sum(values) / len(values)


def repeated(pairs: list[Pair], positives: list[int], counts: list[int]) -> tuple[list[Pair], list[int]]:
    """The data set with query q ``counts[q]`` times, every copy under a number of its own."""
    new_pairs: list[Pair] = []
    new_positives: list[int] = []
    for query, count in enumerate(counts):
        for _ in range(count):
            new_pairs += [(len(new_positives), score, correct) for q, score, correct in pairs if q == query]
            new_positives.append(positives[query])
    return new_pairs, new_positives
