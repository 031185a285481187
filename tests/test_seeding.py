from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from active_indexing import seeding


def test_the_stream_of_a_key_never_changes() -> None:
    # printf 0/7/auto | sha256sum, the first 16 digits, halved
    assert seeding.seed_for(0, 7, "auto") == 0x1B85D76B089A5B6C // 2


def test_seed_image_and_purpose_each_have_their_own_stream() -> None:
    keys = [(s, i, p) for s in (0, 1) for i in (0, 1, "1/0") for p in ("auto", "delta")]
    seeds = {seeding.seed_for(*key) for key in keys}
    assert len(seeds) == len(keys)


@given(st.integers(0), st.integers(-(2**63), 2**63), st.text())
def test_seeds_are_63_bit(seed: int, image_id: int, purpose: str) -> None:
    assert 0 <= seeding.seed_for(seed, image_id, purpose) < 2**63


def test_generators_of_one_key_draw_the_same() -> None:
    draws = [seeding.generator_for(3, 5, "auto").random(4) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
    tensors = [torch.randn(4, generator=seeding.torch_generator_for(3, 5, "delta")) for _ in range(2)]
    assert torch.equal(*tensors)
    assert not np.array_equal(draws[0], seeding.generator_for(4, 5, "auto").random(4))


def test_the_fence_seeds_inside_and_restores_outside_even_after_an_error() -> None:
    np.random.seed(1)
    random.seed(1)
    expected = np.random.random(), random.random()
    np.random.seed(1)
    random.seed(1)
    inside = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error is raised in the fence
            with seeding.fenced_global_rngs(2**62 + 5):
                inside.append((np.random.random(), random.random()))
                raise ZeroDivisionError
    assert inside[0] == inside[1]
    assert (np.random.random(), random.random()) == expected
