"""Steps inside a ball of constant PSNR."""

from __future__ import annotations

from torch import Tensor

NEUTRAL = 1e-12  # keeps the length of a vanishing vector from being divided by


def unit_rms(vectors: Tensor) -> Tensor:
    """(B, ...) scaled so that the root mean square of each is 1."""
    rms = vectors.square().flatten(1).mean(dim=1).sqrt().clamp_min(NEUTRAL)
    return vectors / rms.view(-1, *[1] * (vectors.ndim - 1))
