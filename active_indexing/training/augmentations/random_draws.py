"""Random numbers for a batch of views, from one CPU generator."""

from __future__ import annotations

import math

import torch


class Draws:
    """Draws of one value per view: made on the CPU, so that they are the same for every device.

    Args:
        generator: a CPU generator, which advances.
        count: number of views, the length of every draw.
        device: where the values are needed.
    """

    def __init__(self, generator: torch.Generator, count: int, device: torch.device | None = None) -> None:
        self.generator = generator
        self.count = count
        self.device = device or torch.device("cpu")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(count,) uniform in [low, high)."""
        return self.fraction(self.count) * (high - low) + low

    def log_uniform(self, low: float, high: float) -> torch.Tensor:
        """(count,) whose logarithm is uniform between those of ``low`` and ``high``."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def chance(self, probability: float) -> torch.Tensor:
        """(count,) bool, true with this probability."""
        return self.fraction(self.count) < probability

    def integers(self, high: int) -> torch.Tensor:
        """(count,) int64 in [0, high)."""
        return torch.randint(high, (self.count,), generator=self.generator).to(self.device)

    def sign(self, minus: float = 0.5) -> torch.Tensor:
        """(count,) of 1 and, with probability ``minus``, -1."""
        return torch.where(self.chance(minus), -1.0, 1.0)

    def colours(self) -> torch.Tensor:
        """(count, 3) uniform RGB in [0, 1)."""
        return self.fraction(self.count, 3)

    def fraction(self, *shape: int) -> torch.Tensor:
        """Of any shape, uniform in [0, 1)."""
        return torch.rand(shape, generator=self.generator).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Of any shape, standard normal."""
        return torch.randn(shape, generator=self.generator).to(self.device)

    def order(self, length: int) -> torch.Tensor:
        """A random permutation."""
        return torch.randperm(length, generator=self.generator).to(self.device)

    def among(self, rows: torch.Tensor) -> Draws:
        """The same stream for a part of the views."""
        return Draws(self.generator, len(rows), self.device)
