from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.evaluation.protocols import codecs, exact_search
from active_indexing.evaluation.protocols.exact_search import Candidates, ExactSearch
from active_indexing.evaluation.protocols.score_normalization import (
    ScoreNormalization,
    parse_score_normalization,
)
from active_indexing.metrics.thresholds import next_neighbour_scores

CPU = torch.device("cpu")
QUERIES = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
TRAINING = np.array([[0.5, 0.0], [0.25, 1.0], [1.0, 0.125], [0.0, 0.5]], dtype=np.float32)
# inner products, best first: query 0: 1, 0.5, 0.25, 0; query 1: 1, 0.5, 0.125, 0


def as_tuples(found: Candidates) -> list[tuple[int, int, float]]:
    return list(zip(found.queries.tolist(), found.references.tolist(), found.scores.tolist(), strict=True))


def all_pairs(search: ExactSearch) -> list[tuple[int, int, float]]:
    """The obvious loop: every pair, scored in float64."""
    pairs = []
    for q, query in enumerate(search.queries.astype(float)):
        for r, reference in enumerate(search.references.astype(float)):
            if search.offsets is None:
                pairs.append((q, r, -float(((query - reference) ** 2).sum())))
            else:
                pairs.append((q, r, float(query @ reference) - float(search.offsets[q])))
    return pairs


# Score normalisation


def test_what_is_subtracted_is_the_mean_of_the_ranks_times_the_factor() -> None:
    offsets = ScoreNormalization(2.0, 1, 2).offsets(QUERIES, TRAINING, CPU)
    assert offsets.tolist() == [2 * (0.5 + 0.25) / 2, 2 * (0.5 + 0.125) / 2]


def test_the_words_of_the_challenge_are_ranks() -> None:
    assert ScoreNormalization.mean_of(3) == ScoreNormalization(1.0, 0, 2) == ScoreNormalization()
    assert ScoreNormalization.minimum_of(3, 2.0) == ScoreNormalization(2.0, 2, 2)
    assert ScoreNormalization.minimum_of(3).offsets(QUERIES, TRAINING, CPU).tolist() == [0.25, 0.125]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0[0,2]", ScoreNormalization(1.0, 0, 2)),
        ("0.5[4]", ScoreNormalization(0.5, 4, 4)),
        ("2*min10", ScoreNormalization(2.0, 9, 9)),
        (" 2.0*mean10 ", ScoreNormalization(2.0, 0, 9)),
        ("2*avg10", ScoreNormalization(2.0, 0, 9)),
        ("None", None),
    ],
)
def test_every_form_is_read(text: str, expected: ScoreNormalization | None) -> None:
    assert parse_score_normalization(text) == expected


def test_the_name_is_the_published_one_and_is_read_again() -> None:
    assert ScoreNormalization().name == "1.00[0,2]"
    assert parse_score_normalization(ScoreNormalization(1.25, 3, 7).name) == ScoreNormalization(1.25, 3, 7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1.0[2,1]", "needs a positive factor and ranks 0 <= first <= last"),
        ("0[0]", "needs a positive factor"),
        ("1*mean0", "needs a positive factor and ranks"),
        ("1.0", "is none of: none, FACTOR"),
        ("1.2.3[0]", "could not convert"),
    ],
)
def test_what_is_no_normalisation_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_score_normalization(text)


def test_too_few_training_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1.00\[0,4\] needs at least 5 training images, got 4"):
        ScoreNormalization.mean_of(5).offsets(QUERIES, TRAINING, CPU)


def test_an_answer_is_normalised_by_the_next_one_and_the_last_is_dropped() -> None:
    distances = np.array([0.25, 1.0, 1.5])
    assert next_neighbour_scores(-distances).tolist() == [0.75, 0.5]
    assert next_neighbour_scores(-distances, 0.5).tolist() == [0.25, -0.25]
    assert next_neighbour_scores(np.array([3.0])).tolist() == []
    assert next_neighbour_scores(np.zeros(0)).tolist() == []


# Exact search


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 15), st.booleans(), st.integers(0, 99))
def test_the_search_finds_what_the_loop_over_all_pairs_finds(
    queries: int, references: int, wanted: int, squared_l2: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    search = ExactSearch(
        rng.normal(size=(queries, 4)).astype(np.float32),
        rng.normal(size=(references, 4)).astype(np.float32),
        None if squared_l2 else rng.normal(size=queries),
        CPU,
    )
    pairs = all_pairs(search)
    best = sorted(pairs, key=lambda pair: -pair[2])[:wanted]
    best.sort(key=lambda pair: (pair[0], -pair[2]))
    found = as_tuples(exact_search.best_pairs(search, wanted))
    assert np.array(found) == pytest.approx(np.array(best))
    of_each = [
        pair
        for query in range(queries)
        for pair in sorted((p for p in pairs if p[0] == query), key=lambda pair: -pair[2])[:wanted]
    ]
    found = as_tuples(exact_search.best_per_query(search, wanted))
    assert np.array(found) == pytest.approx(np.array(of_each))


def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    search = ExactSearch(vectors[:20], vectors[10:], None, CPU)
    whole = exact_search.best_per_query(search, 7), exact_search.best_pairs(search, 31)
    monkeypatch.setattr(exact_search, "QUERY_BLOCK", 3)
    monkeypatch.setattr(exact_search, "REFERENCE_BLOCK", 4)
    monkeypatch.setattr(exact_search, "RESCORED", 5)
    for before, after in zip(
        whole, (exact_search.best_per_query(search, 7), exact_search.best_pairs(search, 31)), strict=True
    ):
        assert as_tuples(after) == as_tuples(before)


def test_a_copy_has_a_distance_of_exactly_0() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    found = exact_search.best_per_query(ExactSearch(vectors, vectors, None, CPU), 1)
    assert found.references.tolist() == list(range(30))
    assert found.scores.tolist() == [0.0] * 30


def test_nothing_is_found_for_no_queries() -> None:
    search = ExactSearch(np.zeros((0, 2), np.float32), TRAINING, None, CPU)
    assert as_tuples(exact_search.best_per_query(search, 3)) == []
    assert as_tuples(exact_search.best_pairs(search, 3)) == []


def test_descriptors_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="queries have descriptors of 2 dimensions, references of 3"):
        ExactSearch(QUERIES, np.zeros((1, 3), np.float32), None, CPU)


# Codecs


def correlated(count: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 3)) * [3.0, 1.0, 0.2] @ rng.normal(size=(3, 3)) + 5).astype(np.float32)


def test_flat_leaves_the_descriptors_alone() -> None:
    assert codecs.fit_codec("Flat", None)(QUERIES) is QUERIES


def test_centring_keeps_distances_and_moves_the_mean_to_0() -> None:
    training = correlated()
    centred = codecs.fit_codec("PCA3,Flat", training)(training)
    assert centred.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    before, after = (np.linalg.norm(v[:50] - v[50:100], axis=1) for v in (training, centred))
    assert after == pytest.approx(before, rel=1e-5)


def test_whitening_makes_directions_independent_with_variance_1() -> None:
    training = correlated()
    whitened = codecs.fit_codec("PCAW3,Flat", training)(training)
    assert np.cov(whitened.T, bias=True) == pytest.approx(np.eye(3), abs=1e-3)


def test_steps_run_in_the_order_of_the_name() -> None:
    training = correlated()
    ended = codecs.fit_codec("PCAW2,L2norm,Flat", training)(training)
    assert ended.shape == (200, 2)
    assert np.linalg.norm(ended, axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    began = codecs.fit_codec("L2norm,PCAW2,Flat", training)(training)
    normalised = training / np.linalg.norm(training, axis=1, keepdims=True)
    assert began == pytest.approx(codecs.fit_codec("PCAW2,Flat", normalised)(normalised), abs=1e-4)


def test_the_codecs_of_sscd_are_tried_when_none_is_given() -> None:
    unit = QUERIES
    assert codecs.default_codecs(unit) == ("Flat", "PCAW2,L2norm,Flat")
    assert codecs.default_codecs(3 * unit) == (
        "Flat",
        "L2norm,Flat",
        "PCAW2,L2norm,Flat",
        "L2norm,PCAW2,Flat",
    )


@pytest.mark.parametrize("name", ["PCAW2,L2norm", "PQ8,Flat", "flat", "PCAW,Flat", "PCA0,Flat", ""])
def test_unknown_codecs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected steps L2norm, PCA<d>, PCAW<d> or NES<factor>x<k>, and"):
        codecs.fit_codec(name, TRAINING)


def test_codecs_that_can_not_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match="codec 'PCAW2,Flat' is fitted to training descriptors; give some"):
        codecs.fit_codec("PCAW2,Flat", None)
    with pytest.raises(ValueError, match="fitting 2 directions needs more than 2 descriptors, got 2"):
        codecs.fit_codec("PCAW2,Flat", TRAINING[:2])


def test_values_that_overflow_are_refused() -> None:
    transform = codecs.fit_codec("PCA2,Flat", TRAINING)
    with pytest.raises(ValueError, match="the codec gives values that are not finite"):
        transform(np.full((1, 2), np.nan, dtype=np.float32))
