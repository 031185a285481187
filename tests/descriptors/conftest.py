"""Fixtures of the descriptor tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 20, 30, generator=torch.Generator().manual_seed(1))
