"""Random numbers for a batch of views, from one CPU generator."""

from __future__ import annotations

import math

import torch


class Draws:
    """Draws of one value per view; the same on every device, since they are made on the CPU.

    Args:
        generator: a CPU generator, which advances.
        count: number of views, the length of every draw.
    """

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self.generator = generator
        self.count = count

    def uniform(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(count,) uniform in [low, high)."""
        return torch.rand(self.count, generator=self.generator) * (high - low) + low

    def log_uniform(self, low: float, high: float) -> torch.Tensor:
        """(count,) whose logarithm is uniform between those of ``low`` and ``high``."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def chance(self, probability: float) -> torch.Tensor:
        """(count,) bool, true with this probability."""
        return torch.rand(self.count, generator=self.generator) < probability

    def integers(self, high: int) -> torch.Tensor:
        """(count,) int64 in [0, high)."""
        return torch.randint(high, (self.count,), generator=self.generator)

    def sign(self, minus: float = 0.5) -> torch.Tensor:
        """(count,) of 1 and, with probability ``minus``, -1."""
        return torch.where(self.chance(minus), -1.0, 1.0)

    def colours(self) -> torch.Tensor:
        """(count, 3) uniform RGB in [0, 1)."""
        return torch.rand(self.count, 3, generator=self.generator)

    def among(self, rows: torch.Tensor) -> Draws:
        """The same stream for a part of the views."""
        return Draws(self.generator, len(rows))
