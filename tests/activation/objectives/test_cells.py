from __future__ import annotations

import numpy as np
import pytest
import torch

from active_indexing.activation.objectives.cells import Cells
from tests.activation.worlds import DIM, index_of, units

CPU = torch.device("cpu")


@pytest.mark.parametrize("metric", ["L2", "IP"])
@pytest.mark.parametrize(
    "factory",
    ["IVF8,PQ4x4np", "IVF8,Flat", "OPQ4_8,IVF8,PQ4x4np", "PCA4,IVF8,PQ4x4np", "PCAR4,IVF8,Flat",
     "IVF8_HNSW32,PQ4x4np"],
)  # fmt: skip
def test_the_most_similar_cell_is_the_one_that_the_index_assigns(factory: str, metric: str) -> None:
    index, described = index_of(factory, metric), 0.8 * units(200, 7)
    cells = Cells.of(index, CPU)
    assert cells is not None
    similarities = cells.similarities(torch.from_numpy(described))
    assert similarities.shape == (200, 8)
    expected = index.cells(described)
    assert expected is not None
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(cells.nearest(torch.from_numpy(described)), expected)
    np.testing.assert_array_equal(similarities.argmax(dim=1), expected)


def test_similarities_by_hand() -> None:
    centroids = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    described = torch.tensor([[3.0, 4.0]])
    matrix, bias = torch.tensor([[1.0, 0.0], [0.0, 0.5]]), torch.tensor([-1.0, 0.0])
    # moved to (2, 2): squared distances 1 + 4 and 4 + 0, products 2 and 4
    assert Cells(centroids, matrix, bias, False).similarities(described).tolist() == [[-5.0, -4.0]]
    assert Cells(centroids, matrix, bias, True).similarities(described).tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("factory", ["Flat", "PQ4x4np", "PCA4,LSH", "HNSW8", "IMI2x3,PQ4x4np"])
def test_an_index_without_cells_that_can_be_written_so_has_none(factory: str) -> None:
    assert Cells.of(index_of(factory, entries=0), CPU) is None


def test_cells_are_differentiable() -> None:
    cells = Cells.of(index_of("OPQ4_8,IVF8,PQ4x4np"), CPU)
    assert cells is not None
    described = torch.from_numpy(units(2, 3)).requires_grad_(True)
    cells.similarities(described).sum().backward()
    assert described.grad is not None
    assert described.grad.shape == (2, DIM)
    assert (described.grad != 0).any(dim=1).all()
