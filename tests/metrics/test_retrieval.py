from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.metrics.retrieval import average_precision_of_rank, micro_average_precision, recall_at
from tests.reference import metrics as reference

pairs = st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=1, max_size=40)
"""(score, correct): few distinct scores, so that ties are common, and negative ones among them."""


def split(drawn: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in drawn], dtype=float), np.array([right for _, right in drawn])


def test_recall_counts_the_first_k_places() -> None:
    assert [recall_at(rank, 10) for rank in (0, 9, 10)] == [1, 1, 0]


@pytest.mark.parametrize("k", [1, 10, 100, 10**9])
def test_recall_of_a_miss_is_zero_whatever_k_is(k: int) -> None:
    assert recall_at(None, k) == 0


def test_average_precision_of_one_right_answer_is_one_over_its_place() -> None:
    assert [average_precision_of_rank(rank) for rank in (0, 1, 3)] == [1.0, 0.5, 0.25]
    assert average_precision_of_rank(None) == 0.0


def test_micro_average_precision_of_a_case_drawn_by_hand() -> None:
    # right, wrong, right; a third right pair was never retrieved: (1/1 + 2/3) / 3
    found = micro_average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 3)
    assert found == pytest.approx((1 + 2 / 3) / 3)


def test_micro_average_precision_sorts_by_score_not_by_place() -> None:
    assert micro_average_precision(np.array([-2.0, -1.0]), np.array([False, True]), 1) == 1.0


def test_ties_count_against_us() -> None:
    assert micro_average_precision(np.array([1.0, 1.0]), np.array([True, False]), 1) == 0.5


def test_constant_scores_earn_the_worst_ranking() -> None:
    correct = np.array([True] * 2 + [False] * 8)
    assert micro_average_precision(np.zeros(10), correct, 2) == pytest.approx((1 / 9 + 2 / 10) / 2)


def test_a_query_without_any_right_pair_has_no_average_precision() -> None:
    assert math.isnan(micro_average_precision(np.array([1.0]), np.array([False]), 0))
    assert micro_average_precision(np.zeros(0), np.zeros(0, dtype=bool), 3) == 0.0


def test_more_right_pairs_than_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 pairs are correct, but only 1 are said to exist"):
        micro_average_precision(np.array([1.0, 0.5]), np.array([True, True]), 1)


@given(pairs, st.integers(0, 5))
def test_micro_average_precision_matches_the_loop(drawn: list[tuple[int, bool]], unfound: int) -> None:
    scores, correct = split(drawn)
    positives = int(correct.sum()) + unfound
    if positives:
        expected = reference.micro_average_precision(scores.tolist(), correct.tolist(), positives)
        assert micro_average_precision(scores, correct, positives) == pytest.approx(expected)


@given(pairs, st.integers(-1000, 1000))
def test_a_shift_of_all_scores_changes_nothing(drawn: list[tuple[int, bool]], shift: int) -> None:
    scores, correct = split(drawn)
    if correct.any():
        before = micro_average_precision(scores, correct, int(correct.sum()))
        assert micro_average_precision(scores + shift, correct, int(correct.sum())) == before


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(drawn: list[tuple[int, bool]], random: object) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    if any(right for _, right in drawn):
        positives = sum(right for _, right in drawn)
        assert micro_average_precision(*split(drawn), positives) == micro_average_precision(
            *split(shuffled), positives
        )


@given(pairs)
def test_a_wrong_pair_above_all_others_never_helps(drawn: list[tuple[int, bool]]) -> None:
    scores, correct = split(drawn)
    if correct.any():
        positives = int(correct.sum())
        worse = micro_average_precision(np.append(scores, 100.0), np.append(correct, False), positives)
        assert 0 < worse < micro_average_precision(scores, correct, positives) <= 1
