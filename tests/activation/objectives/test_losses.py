from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.objectives import losses
from active_indexing.activation.objectives.cells import Cells


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cells(inner_product: bool = False) -> Cells:
    """5 cells behind a matrix from 6 to 4 dimensions and a bias."""
    return Cells(rows(5, 4, seed=1), rows(4, 6, seed=2), rows(4, seed=3), inner_product)


OWN = torch.tensor([4, 0, 2])


def test_the_losses_to_a_target_by_hand() -> None:
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 0.0])
    assert losses.cossim(a, b).tolist() == pytest.approx([-0.6])
    assert losses.l2(a, b).tolist() == pytest.approx([20.0])
    assert set(losses.DESCRIPTOR_LOSSES) == {"cossim", "l2"}


@pytest.mark.parametrize("name", losses.DESCRIPTOR_LOSSES)
def test_a_target_is_shared_or_each_has_its_own(name: str) -> None:
    loss, described, targets = losses.DESCRIPTOR_LOSSES[name], rows(3, 6), rows(3, 6, seed=5)
    one_by_one = [loss(described[i : i + 1], targets[i]) for i in range(3)]
    assert torch.allclose(loss(described, targets), torch.cat(one_by_one))


@pytest.mark.parametrize("inner_product", [False, True])
def test_the_cell_loss_written_out(inner_product: bool) -> None:
    described, geometry = rows(3, 6), cells(inner_product)
    matrix, bias, centroids = (part.numpy() for part in (geometry.matrix, geometry.bias, geometry.centroids))
    for row, own, found in zip(
        described.numpy(), OWN.tolist(), losses.cell_loss(described, geometry, OWN).tolist(), strict=True
    ):
        moved = matrix @ row + bias
        if inner_product:
            likeness = [float(moved @ c) for c in centroids]
        else:
            likeness = [-float(sum((moved - c) ** 2)) for c in centroids]
        scaled = [value / losses.CELL_TEMPERATURE for value in likeness]
        top = max(scaled)
        expected = top + math.log(sum(math.exp(value - top) for value in scaled)) - scaled[own]
        assert found == pytest.approx(expected, rel=1e-9)


def slow_neighbour_loss(described: np.ndarray, code: np.ndarray, others: np.ndarray) -> float:
    """Of one descriptor, (D,), (D,), (M, D)."""
    scaled = [
        -float(sum((described - each) ** 2)) / losses.NEIGHBOUR_TEMPERATURE
        for each in (code, *(other for other in others if np.isfinite(other).all()))
    ]
    top = max(scaled)
    return top + math.log(sum(math.exp(value - top) for value in scaled)) - scaled[0]


def with_gaps() -> Tensor:
    """(3, 4, 6): all neighbours there, some missing, all missing."""
    neighbours = rows(3, 4, 6, seed=4)
    neighbours[1, 1:3] = torch.inf
    neighbours[2] = torch.inf
    return neighbours


def test_the_neighbour_loss_written_out_without_those_that_are_missing() -> None:
    described, code = 0.2 * rows(3, 6), 0.3 * rows(3, 6, seed=5)
    neighbours = 0.2 * with_gaps()
    found = losses.neighbour_loss(described, code, neighbours)
    expected = [
        slow_neighbour_loss(*each)
        for each in zip(described.numpy(), code.numpy(), neighbours.numpy(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found[2] == 0  # without others nothing can be mistaken


def test_the_neighbour_loss_falls_towards_the_code_and_away_from_the_others() -> None:
    code, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    way = [torch.tensor([[t, 1 - t]]) for t in (0.0, 0.3, 0.5, 0.7, 1.0)]
    found = [float(losses.neighbour_loss(each, code, other)) for each in way]
    assert found == sorted(found, reverse=True)
    assert found[2] == pytest.approx(math.log(2), rel=1e-5)


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "cossim": lambda x: losses.cossim(x, rows(3, 6, seed=5)),
    "l2": lambda x: losses.l2(x, rows(3, 6, seed=5)),
    # Near descriptors, so that no probability vanishes and the derivative is more than zero.
    "cells, L2": lambda x: losses.cell_loss(0.02 * x, cells(), OWN),
    "cells, IP": lambda x: losses.cell_loss(0.02 * x, cells(inner_product=True), OWN),
    "neighbours": lambda x: losses.neighbour_loss(0.1 * x, 0.1 * rows(3, 6, seed=5), 0.1 * with_gaps()),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    described = rows(3, 6).requires_grad_(True)
    assert torch.autograd.gradcheck(GRADIENTS[name], described)
    (gradient,) = torch.autograd.grad(GRADIENTS[name](described).sum(), described)
    assert gradient.abs().max() > 1e-4


def test_missing_neighbours_leave_the_gradient_finite_in_float32() -> None:
    described = F.normalize(rows(3, 6).float(), dim=1).requires_grad_(True)
    loss = losses.neighbour_loss(described, F.normalize(rows(3, 6, seed=5).float()), with_gaps().float())
    loss.sum().backward()
    assert described.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(described.grad).all()
    assert (described.grad[2] == 0).all()
