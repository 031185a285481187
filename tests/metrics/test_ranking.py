from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from active_indexing.metrics import ranking, retrieval
from active_indexing.metrics.ranking import RankedPairs, rank_pairs
from tests.reference import ranking as reference
from tests.reference.ranking import Pair

quickly = settings(derandomize=True, deadline=None, max_examples=50, database=None)


def pairs_of(case: list[Pair], positives: list[int]) -> RankedPairs:
    queries, scores, correct = zip(*case, strict=True) if case else ((), (), ())
    return rank_pairs(np.array(queries, dtype=int), np.array(scores), np.array(correct), np.array(positives))


def one_query(scores: list[float], correct: list[bool], positives: int) -> RankedPairs:
    return pairs_of([(0, s, c) for s, c in zip(scores, correct, strict=True)], [positives])


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Pair], list[int]]:
    """Pairs of up to 4 queries with integer scores, many equal, some negative; some right ones missed."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 3), st.booleans()), max_size=25))
    found = [sum(correct for q, _, correct in pairs if q == query) for query in range(4)]
    missed = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    positives = [f + m for f, m in zip(found, missed, strict=True)]
    assume(sum(positives))
    return [(q, float(score), correct) for q, score, correct in pairs], positives


def all_metrics(pairs: RankedPairs) -> dict[str, float]:
    point = ranking.recall_at_precision(pairs)
    return {
        "micro": ranking.average_precision(pairs),
        "recall": point.recall,
        "threshold": point.threshold,
        "rank 1": ranking.recall_at_rank(pairs, 1),
        "rank 3": ranking.recall_at_rank(pairs, 3),
        "accuracy": ranking.accuracy_at_1(pairs),
        "mean": ranking.mean_average_precision(pairs),
        "pooled": ranking.pooled_average_precision(pairs),
    }


def all_oracles(pairs: list[Pair], positives: list[int]) -> dict[str, float]:
    total = sum(positives)
    recall, threshold = reference.recall_at_precision(pairs, total, 0.9)
    return {
        "micro": reference.micro_average_precision(pairs, total),
        "recall": recall,
        "threshold": threshold,
        "rank 1": reference.recall_at_rank(pairs, total, 1),
        "rank 3": reference.recall_at_rank(pairs, total, 3),
        "accuracy": reference.recall_at_rank(pairs, total, 1),
        "mean": reference.mean_average_precision(pairs, positives),
        "pooled": reference.trapezoid_average_precision(pairs, total),
    }


# By hand


def test_one_wrong_before_one_of_two_right_pairs() -> None:
    pairs = one_query([0.9, 0.8], [False, True], positives=2)
    assert ranking.average_precision(pairs) == (1 / 2) / 2
    assert ranking.recall_at_rank(pairs, 1) == 0
    assert ranking.recall_at_rank(pairs, 2) == 1 / 2
    # place 1, nothing right before it: precision 0 / 1 before and 1 / 2 after
    assert ranking.query_average_precisions(pairs).tolist() == [(0 + 1 / 2) / 2 / 2]


def test_equal_scores_count_against_us() -> None:
    pairs = one_query([0.5, 0.5, 0.5], [True, False, True], positives=2)
    assert pairs.correct.tolist() == [False, True, True]
    assert pairs.places.tolist() == [0, 1, 2]
    assert pairs.ranks.tolist() == [2, 2, 2]
    assert ranking.average_precision(pairs) == (1 / 2 + 2 / 3) / 2
    assert ranking.recall_at_rank(pairs, 2) == 0
    assert ranking.recall_at_rank(pairs, 3) == 1


def test_recall_at_90_percent_precision_is_the_furthest_point_that_reaches_it() -> None:
    # nine right, one wrong: 9 / 10; then wrong, right: 10 / 12 falls below; eight right more: 18 / 20
    correct = [True] * 9 + [False] * 2 + [True] * 9
    pairs = one_query([float(-place) for place in range(20)], correct, positives=20)
    assert ranking.recall_at_precision(pairs) == ranking.OperatingPoint(18 / 20, -19.0)


def test_the_threshold_is_that_of_the_last_right_pair_not_of_wrong_ones_after_it() -> None:
    correct = [True] * 18 + [False] * 2
    pairs = one_query([float(-place) for place in range(20)], correct, positives=18)
    assert ranking.recall_at_precision(pairs) == ranking.OperatingPoint(1.0, -17.0)


def test_a_precision_that_is_never_reached_has_recall_0_and_no_threshold() -> None:
    pairs = one_query([1.0, 0.5], [False, True], positives=1)
    assert ranking.recall_at_precision(pairs) == ranking.OperatingPoint(0.0, math.inf)


def test_recall_counts_right_pairs_and_not_queries() -> None:
    pairs = pairs_of([(0, 2.0, True), (0, 1.0, True), (1, 5.0, True)], [2, 1, 1])
    assert ranking.accuracy_at_1(pairs) == 2 / 4


def test_pairs_of_a_query_without_a_match_are_wrong_answers() -> None:
    pairs = pairs_of([(0, 1.0, True), (1, 2.0, False)], [1, 0])
    assert ranking.average_precision(pairs) == 1 / 2
    assert ranking.accuracy_at_1(pairs) == 1
    assert ranking.mean_average_precision(pairs) == 1


def test_without_positives_there_is_no_value() -> None:
    pairs = pairs_of([(0, 1.0, False)], [0])
    assert all(math.isnan(value) for name, value in all_metrics(pairs).items() if name not in ("threshold",))


def test_no_pairs_at_all_find_nothing() -> None:
    values = all_metrics(pairs_of([], [1, 2]))
    assert values.pop("threshold") == math.inf
    assert set(values.values()) == {0.0}


def test_scores_that_are_no_numbers_and_surplus_right_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="pair 1 has a score that is not a number"):
        one_query([0.0, math.nan], [True, False], positives=1)
    with pytest.raises(ValueError, match="a query has more right pairs than are said to exist"):
        pairs_of([(0, 1.0, True), (1, 1.0, False)], [0, 5])
    with pytest.raises(ValueError, match="queries are numbered 0 to 2, expected 0 to Q - 1"):
        pairs_of([(2, 1.0, False), (0, 1.0, True)], [1, 0])


# Against the oracles, and properties


@quickly
@given(cases())
def test_every_metric_is_what_the_obvious_loop_gives(case: tuple[list[Pair], list[int]]) -> None:
    assert all_metrics(pairs_of(*case)) == pytest.approx(all_oracles(*case))


@quickly
@given(cases(), st.randoms(use_true_random=False))
def test_without_equal_scores_it_is_the_average_precision_of_scikit_learn(
    case: tuple[list[Pair], list[int]], random
) -> None:
    pairs, positives = case
    distinct = random.sample(range(-50, 50), len(pairs))
    pairs = [
        (query, float(score), correct) for (query, _, correct), score in zip(pairs, distinct, strict=True)
    ]
    found = [correct for _, _, correct in pairs]
    assume(any(found))
    expected = average_precision_score(found, distinct) * sum(found) / sum(positives)
    assert ranking.average_precision(pairs_of(pairs, positives)) == pytest.approx(expected)


@quickly
@given(cases(), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_every_metric_of_a_resampled_data_set_is_that_of_the_data_set_written_out(
    case: tuple[list[Pair], list[int]], counts: list[int]
) -> None:
    written_out = reference.repeated(*case, counts)
    assume(sum(written_out[1]))
    resampled = ranking.resample(pairs_of(*case), np.array(counts))
    assert all_metrics(resampled) == pytest.approx(all_oracles(*written_out))


@quickly
@given(cases(), st.randoms(use_true_random=False), st.integers(-5, 5))
def test_order_of_the_rows_and_a_constant_added_to_scores_change_nothing(
    case: tuple[list[Pair], list[int]], random, shift: int
) -> None:
    pairs, positives = case
    moved = [(query, score + shift, correct) for query, score, correct in pairs]
    random.shuffle(moved)
    expected = all_metrics(pairs_of(pairs, positives))
    expected["threshold"] += shift
    assert all_metrics(pairs_of(moved, positives)) == expected


@quickly
@given(cases())
def test_pairs_of_the_class_and_the_plain_function_agree(case: tuple[list[Pair], list[int]]) -> None:
    pairs, positives = case
    plain = retrieval.micro_average_precision(
        np.array([score for _, score, _ in pairs]), np.array([c for _, _, c in pairs]), sum(positives)
    )
    assert ranking.average_precision(pairs_of(pairs, positives)) == plain


@quickly
@given(cases())
def test_metrics_lie_between_0_and_1_and_more_places_never_hurt(case: tuple[list[Pair], list[int]]) -> None:
    values = all_metrics(pairs_of(*case))
    del values["threshold"]
    assert all(0 <= value <= 1 + 1e-12 for value in values.values())
    assert values["rank 1"] <= values["rank 3"]


@quickly
@given(cases(), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_the_fast_average_precision_of_drawn_queries_is_that_of_their_pairs(
    case: tuple[list[Pair], list[int]], counts: list[int]
) -> None:
    pairs, drawn = pairs_of(*case), np.array(counts)
    expected = ranking.average_precision(ranking.resample(pairs, drawn))
    assert ranking.resampled_average_precision(pairs, drawn) == pytest.approx(expected, nan_ok=True)
