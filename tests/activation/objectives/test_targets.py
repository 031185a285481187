from __future__ import annotations

import numpy as np
import pytest

from active_indexing.activation.objectives import targets
from active_indexing.index.vector_index import VectorIndex, new_index

DIM = 32


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ORIGINALS = unit(6, 1)


def index_of(factory: str, metric: str = "L2") -> VectorIndex:
    index = new_index(factory, metric, DIM)
    if index.needs_training:
        index.train(unit(400, 0))
    return index


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ4_16,IVF8,PQ4x4np", "PCA16,IVF8,PQ4x4np"])
def test_every_target_is_one_finite_vector_per_image_and_the_index_keeps_empty(
    name: str, factory: str, metric: str
) -> None:
    index = index_of(factory, metric)
    targets.check_target(name, index)
    found = targets.target_rule(name)(index, ORIGINALS)
    assert found.shape == ORIGINALS.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert index.ntotal == 0


def test_the_rules_are_what_they_say() -> None:
    index = index_of("IVF8,PQ4x4np")
    centroid = index.centroids(index.cells(ORIGINALS))
    assert np.array_equal(targets.pq_recons(index, ORIGINALS), index.reconstruct(ORIGINALS))
    assert np.array_equal(targets.ivf_cluster(index, ORIGINALS), centroid)
    np.testing.assert_allclose(targets.ivf_cluster_half(index, ORIGINALS), 0.5 * centroid + 0.5 * ORIGINALS)
    same = targets.ori_ft(index, ORIGINALS)
    assert np.array_equal(same, ORIGINALS)
    assert same is not ORIGINALS


def test_the_midpoint_is_as_far_from_the_centroid_as_from_the_original() -> None:
    index = index_of("IVF8,PQ4x4np")
    half, whole = targets.ivf_cluster_half(index, ORIGINALS), targets.ivf_cluster(index, ORIGINALS)
    to_original, to_centroid = np.linalg.norm(half - ORIGINALS, axis=1), np.linalg.norm(half - whole, axis=1)
    np.testing.assert_allclose(to_original, to_centroid, rtol=1e-5)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_depends_on_its_image_alone(name: str) -> None:
    index = index_of("IVF8,PQ4x4np")
    together = targets.TARGETS[name](index, ORIGINALS)
    alone = np.concatenate([targets.TARGETS[name](index, row[None]) for row in ORIGINALS])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("name", ["pq_recons", "ivf_cluster", "ivf_cluster_half"])
def test_a_whitening_index_is_refused_before_any_image_is_touched(name: str) -> None:
    with pytest.raises(ValueError, match=r"PCAW16,IVF8,PQ4x4np.*without whitening"):
        targets.check_target(name, index_of("PCAW16,IVF8,PQ4x4np"))


@pytest.mark.parametrize("factory", ["PQ4x4np", "Flat", "HNSW32", "PCA16,LSH"])
def test_an_index_without_cells_has_the_other_targets(factory: str) -> None:
    index = index_of(factory)
    targets.check_target("pq_recons", index)
    targets.check_target("ori_ft", index)
    for name in ("ivf_cluster", "ivf_cluster_half"):
        with pytest.raises(ValueError, match=r"has no cells.*--target pq_recons or ori_ft"):
            targets.check_target(name, index)


def test_the_original_itself_is_a_target_everywhere() -> None:
    targets.check_target("ori_ft", index_of("PCAW16,IVF8,PQ4x4np"))


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown target 'nearest'; choose one of pq_recons, ori_ft"):
        targets.target_rule("nearest")
