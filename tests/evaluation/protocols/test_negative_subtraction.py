"""Negative embedding subtraction against loops over plain lists."""

import math

import numpy as np
import pytest

from active_indexing.evaluation.protocols.codecs import fit_codec
from active_indexing.evaluation.protocols.negative_subtraction import smoothed, without_negatives


def unit(rows, dim=6, seed=0):
    made = np.random.default_rng(seed).normal(size=(rows, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def normalised(row):
    length = math.sqrt(dot(row, row))
    return [value / length for value in row]


def slow_smoothed(training, count):
    result = []
    for row in training:
        near = sorted(training, key=lambda other: -dot(row, other))[:count]
        weights = [max(dot(row, other), 0) ** 3 for other in near]
        sums = [sum(w * other[d] for w, other in zip(weights, near, strict=True)) for d in range(len(row))]
        result.append(normalised(sums))
    return result


def slow_subtracted(rows, negatives, factor, count):
    result = []
    for row in rows:
        near = sorted(negatives, key=lambda other: -dot(row, other))[:count]
        means = [sum(other[d] for other in near) / len(near) for d in range(len(row))]
        result.append(normalised([x - factor * m for x, m in zip(row, means, strict=True)]))
    return result


def test_a_query_leaves_the_only_negative_by_hand():
    (row,) = without_negatives(np.float32([[0.8, 0.6]]), np.float32([[1, 0]]), factor=0.5, neighbours=10)
    assert row == pytest.approx(normalised([0.3, 0.6]))


@pytest.mark.parametrize("count", [1, 3, 50])
def test_both_steps_equal_loops(count):
    training, rows = unit(12), unit(5, seed=1)
    expected = slow_smoothed(training.tolist(), count)
    np.testing.assert_allclose(smoothed(training, count), expected, rtol=1e-4, atol=1e-6)
    negatives = np.float32(expected)
    actual = without_negatives(rows, negatives, factor=0.35, neighbours=count)
    wanted = slow_subtracted(rows.tolist(), negatives.tolist(), 0.35, count)
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6)


def test_nothing_is_subtracted_with_factor_0():
    rows = unit(4)
    np.testing.assert_allclose(without_negatives(rows, unit(3, seed=2), factor=0.0), rows, atol=1e-6)


def test_it_is_a_step_of_a_codec_for_queries_references_and_training():
    training, rows = 3 * unit(12), 2 * unit(5, seed=1)  # normalised first
    transform = fit_codec("NES0.35x3,Flat", training)
    expected = without_negatives(rows / 2, smoothed(training / 3, 3), factor=0.35, neighbours=3)
    np.testing.assert_allclose(transform(rows), expected, rtol=1e-4, atol=1e-6)
    chained = fit_codec("PCA2,NES0.35x3,Flat", training)(rows)
    assert chained.shape == (5, 2)
    with pytest.raises(ValueError, match="is fitted to training descriptors"):
        fit_codec("NES0.35x3,Flat", None)
    with pytest.raises(ValueError, match=r"expected steps L2norm, PCA<d>, PCAW<d> or NES<factor>x<k>"):
        fit_codec("NES10,Flat", training)
