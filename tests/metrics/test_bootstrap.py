from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.metrics import ranking
from active_indexing.metrics.bootstrap import (
    Interval,
    bootstrap,
    column_means,
    drawn_means,
    draws,
    percentile_ends,
    percentile_interval,
)
from active_indexing.metrics.ranking import RankedPairs, rank_pairs


def figures(pairs: RankedPairs) -> dict[str, float]:
    return {"uAP": ranking.average_precision(pairs), "rank 1": ranking.recall_at_rank(pairs, 1)}


def test_every_data_set_is_as_large_as_the_first_and_the_seed_says_which() -> None:
    drawn = np.array(list(draws(6, 40)))
    assert drawn.shape == (40, 6)
    assert set(drawn.sum(axis=1)) == {6}
    assert (drawn == np.array(list(draws(6, 40)))).all()
    assert (drawn != np.array(list(draws(6, 40, seed=1)))).any()
    assert [counts.tolist() for counts in draws(0, 2)] == [[], []]


def test_means_over_drawn_images_leave_missing_copies_out() -> None:
    values = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, 1.0]])
    np.testing.assert_array_equal(column_means(values, np.array([2, 1, 0])), [2 / 3, np.nan])
    np.testing.assert_array_equal(column_means(values, np.array([1, 0, 2])), [1.0, 1.0])
    np.testing.assert_array_equal(column_means(values), [0.5, 1.0])
    drawn = drawn_means(values, 30)
    for means, counts in zip(drawn, draws(3, 30), strict=True):
        np.testing.assert_array_equal(means, column_means(values, counts))


def test_a_figure_and_a_bootstrap_of_queries_have_the_same_interval() -> None:
    found = np.random.default_rng(2).random(30) < 0.6
    pairs = rank_pairs(np.arange(30), np.zeros(30), found, np.ones(30))
    of_queries = bootstrap(pairs, figures)["rank 1"]
    of_images = percentile_interval(drawn_means(found[:, None].astype(float))[:, 0])
    assert (of_images.low, of_images.high) == pytest.approx((of_queries.low, of_queries.high))


@settings(derandomize=True, deadline=None, max_examples=50, database=None)
@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95]))
def test_both_ends_are_values_that_were_drawn_and_hold_the_level(values: list[float], level: float) -> None:
    low, high = percentile_ends(np.array([values, values]).T, level)
    known = [value for value in values if not math.isnan(value)]
    if not known:
        assert np.isnan([low, high]).all()
        return
    assert {low[0], high[0]} <= set(known)
    assert (low[0], high[0]) == (low[1], high[1])
    assert sum(low[0] <= value <= high[0] for value in known) >= level * len(known) - 1e-9


def test_an_infinite_value_stays_infinite() -> None:
    assert percentile_interval(np.array([1.0] * 38 + [math.inf] * 2)) == Interval(1.0, math.inf)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    rng = np.random.default_rng(0)
    found = rng.random(400) < 0.7
    pairs = rank_pairs(np.arange(400), np.zeros(400), found, np.ones(400))
    interval = bootstrap(pairs, lambda drawn: {"r@1": ranking.accuracy_at_1(drawn)}, replicates=500)["r@1"]
    mean, error = found.mean(), found.std() / math.sqrt(400)
    assert interval.low == pytest.approx(mean - 1.96 * error, abs=0.4 * error)
    assert interval.high == pytest.approx(mean + 1.96 * error, abs=0.4 * error)


def test_a_perfect_data_set_has_an_interval_of_one_point() -> None:
    pairs = rank_pairs(np.arange(5), np.arange(5.0), np.ones(5, dtype=bool), np.ones(5))
    perfect = Interval(1.0, 1.0)
    drawn = bootstrap(pairs, lambda p: {"uAP": ranking.average_precision(p)}, replicates=20)
    assert drawn == {"uAP": perfect}


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    rng = np.random.default_rng(1)
    pairs = rank_pairs(np.arange(50), rng.random(50), rng.random(50) < 0.5, np.ones(50))
    results = [bootstrap(pairs, figures, replicates=20, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]


def test_data_sets_without_a_value_are_left_out_of_the_interval() -> None:
    assert percentile_interval(np.array([math.nan, 1.0, 3.0, math.inf]), 0.95) == Interval(1.0, math.inf)
    nothing = percentile_interval(np.array([math.nan]), 0.95)
    assert math.isnan(nothing.low)
    assert math.isnan(nothing.high)


def test_the_percentiles_are_counted_from_both_ends() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert percentile_interval(values, 0.9) == Interval(50.0, 950.0)


@pytest.mark.parametrize(("replicates", "level", "queries"), [(0, 0.95, 1), (1, 1.0, 1), (1, 0.95, 0)])
def test_a_bootstrap_of_nothing_is_refused(replicates: int, level: float, queries: int) -> None:
    pairs = rank_pairs(np.zeros(0), np.zeros(0), np.zeros(0), np.ones(queries))
    with pytest.raises(ValueError, match="a bootstrap needs at least 1 replicate, a level between 0 and 1"):
        bootstrap(pairs, figures, replicates=replicates, level=level)
