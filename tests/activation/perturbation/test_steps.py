from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.activation.perturbation.steps import norm, steepest, unit_norm


def test_norms_of_a_drawn_vector() -> None:
    vectors = torch.tensor([[3.0, -4.0], [0.0, 2.0]])
    assert norm(vectors, 2.0).flatten().tolist() == pytest.approx([12.5**0.5, 2**0.5])
    assert norm(vectors, 1.0).flatten().tolist() == pytest.approx([3.5, 1.0])


def test_what_is_shorter_stays_and_what_is_longer_is_shrunk() -> None:
    vectors = torch.tensor([[0.1, 0.1], [6.0, 8.0]])
    found = unit_norm(vectors, 6.0, at_most=torch.tensor([[1.0], [2.0]]))
    assert torch.equal(found[0], vectors[0])
    assert norm(found, 6.0)[1].item() == pytest.approx(2.0, rel=1e-5)


def test_powers_of_the_gradient() -> None:
    gradients = torch.tensor([[8.0, -1.0, 0.0]])
    assert steepest(gradients, 2.0)[0, 0] / steepest(gradients, 2.0)[0, 1] == pytest.approx(-8)
    assert steepest(gradients, 4.0)[0, 0] / steepest(gradients, 4.0)[0, 1] == pytest.approx(-2)
    assert steepest(gradients, 4.0)[0, 2] == 0


def test_no_gradient_is_no_direction() -> None:
    assert not steepest(torch.zeros(2, 3, 4), 6.0).any()


@given(power=st.floats(1.5, 8.0), seed=st.integers(0, 1000))
def test_no_other_direction_of_that_norm_goes_further(power: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradient, other = torch.randn(2, 1, 12, generator=generator, dtype=torch.float64)
    best, other = steepest(gradient, power), other / norm(other, power)
    assert norm(best, power).item() == pytest.approx(1.0)
    assert (gradient * best).sum() >= (gradient * other).sum() - 1e-9
