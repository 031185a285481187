from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.query.answers import MATCH, NO_MATCH, UNSURE_MATCH, Judge
from active_indexing.query.reranking import HANDICAPS, ranked
from active_indexing.query.strangers import Strangers, fitted, leave_one_out, spread_of


def unit(count: int, seed: int, dim: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_ranks_are_those_of_a_loop_over_views_and_descriptors(
    views: int, images: int, each: int, seed: int
) -> None:
    queries, kinds = unit(views, seed), (["whole", "trimmed", "rectangle", "turned"])[:views]
    stored = {7 * n: unit(each, 1000 * seed + n) for n in range(images)}
    told = ranked(queries, kinds, stored, spread=0.1)
    expected = {}
    for image, vectors in stored.items():
        scores = [
            max(float(q @ v) for v in vectors) - 0.1 * HANDICAPS[k]
            for q, k in zip(queries, kinds, strict=True)
        ]
        expected[image] = max(scores)
    assert [one.id for one in told] == sorted(expected, key=lambda image: (-round(expected[image], 5), image))
    for one in told:
        assert one.score == pytest.approx(expected[one.id], abs=1e-5)
        similarity = max(float(queries[one.view] @ v) for v in stored[one.id])
        assert one.distance == pytest.approx(2 - 2 * similarity, abs=1e-5)


def test_without_candidates_there_is_nothing_to_rank() -> None:
    assert ranked(unit(2, 0), ["whole", "turned"], {}, 0.1) == []


def test_a_fit_gives_back_the_gumbel_distribution_that_was_drawn_from() -> None:
    drawn = np.random.default_rng(0).gumbel(0.3, 0.05, 20_000)
    fit = fitted(drawn, images=1000)
    assert fit.location == pytest.approx(0.3, abs=0.003)
    assert fit.scale == pytest.approx(0.05, abs=0.002)
    for rate in (0.1, 0.01, 0.001):
        share = (drawn > fit.threshold(rate, 1000)).mean()
        assert share == pytest.approx(rate, rel=0.25)


def test_a_few_look_alikes_do_not_move_a_fit() -> None:
    drawn = np.random.default_rng(1).gumbel(0.3, 0.05, 2000)
    spoiled = np.concatenate([drawn, np.full(100, 0.99)])
    assert fitted(spoiled, 10).threshold(0.01, 10) == pytest.approx(
        fitted(drawn, 10).threshold(0.01, 10), abs=0.03
    )


def test_the_threshold_grows_with_the_store_like_the_largest_of_more_values() -> None:
    rng = np.random.default_rng(2)
    few = fitted(rng.gumbel(0.2, 0.04, (5000, 10)).max(axis=1), images=10)
    many = rng.gumbel(0.2, 0.04, (5000, 200)).max(axis=1)
    assert (many > few.threshold(0.05, 200)).mean() == pytest.approx(0.05, abs=0.015)
    assert few.of_views(8).threshold(0.05, 10) == pytest.approx(few.threshold(0.05, 80))


def test_what_was_observed_counts_more_than_the_distribution() -> None:
    scores = tuple(np.linspace(0.9, 0.1, 1200).tolist())
    strangers = Strangers(0.3, 0.05, 1200, 50, scores)
    assert strangers.exceeding(0.01) == 6, "11.84 / 1200 is the upper end of a Poisson rate of 6"
    assert strangers.threshold(0.01, 50) == scores[6]
    assert strangers.exceeding(0.001) is None
    unseen = strangers.threshold(0.001, 50)
    assert unseen == pytest.approx(0.3 - 0.05 * math.log(-math.log(0.999)))


def test_the_true_rate_is_below_the_one_asked_for_as_often_as_promised() -> None:
    rng, above = np.random.default_rng(7), 0
    for _ in range(300):
        drawn = np.sort(rng.uniform(size=800))[::-1]
        above += 1 - Strangers(0, 1, 800, 1, tuple(drawn)).threshold(0.02, 1) > 0.02
    assert above / 300 < 0.09, "5 % but for chance"


def test_too_few_scores_are_no_distribution() -> None:
    assert fitted(np.zeros(7), 10) is None
    assert fitted(np.full(30, -np.inf), 10) is None


def test_leave_one_out_is_the_best_of_the_others() -> None:
    own, others = unit(12, 3), unit(5, 4)
    told = leave_one_out(own, others)
    for n in range(12):
        rest = [*np.delete(own, n, axis=0), *others]
        assert told[n] == pytest.approx(max(float(own[n] @ vector) for vector in rest), abs=1e-6)
    assert leave_one_out(own[:1], others[:0]).tolist() == [-np.inf]


def test_the_spread_of_random_directions_is_known() -> None:
    assert spread_of(unit(500, 5, 64)) == pytest.approx(1 / 8, abs=0.01)
    assert spread_of(unit(1, 5, 64)) == 1 / 8


def test_verdicts_follow_the_thresholds() -> None:
    judge = Judge(Strangers(0.3, 0.05, 100, 10), rate=0.01, images=10)
    match, unsure = (judge.strangers.threshold(rate, 10) for rate in (0.01, 0.1))
    told = [judge.verdict(score) for score in (match + 1e-6, match - 1e-6, unsure + 1e-6, unsure - 1e-6)]
    assert told == [MATCH, UNSURE_MATCH, UNSURE_MATCH, NO_MATCH]
    assert Judge(None, 0.01, 1).verdict(1.0) == UNSURE_MATCH
    assert judge.normalized(0.3 + 0.05 * np.euler_gamma) == pytest.approx(0, abs=1e-9)
