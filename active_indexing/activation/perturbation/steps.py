"""Steps inside balls of norms, image by image."""

from __future__ import annotations

from torch import Tensor

NEUTRAL = 1e-12  # keeps the length of a vanishing vector from being divided by


def unit_rms(vectors: Tensor) -> Tensor:
    """(B, ...) scaled so that the root mean square of each is 1."""
    rms = vectors.square().flatten(1).mean(dim=1).sqrt().clamp_min(NEUTRAL)
    return vectors / rms.view(-1, *[1] * (vectors.ndim - 1))


def norm(vectors: Tensor, power: float) -> Tensor:
    """(B, ...) to (B, 1, ...): the power mean of the absolute values of each, e.g. its RMS for 2."""
    means = vectors.abs().pow(power).flatten(1).mean(dim=1).pow(1 / power)
    return means.view(-1, *[1] * (vectors.ndim - 1))


def unit_norm(vectors: Tensor, power: float, at_most: Tensor | float = 1.0) -> Tensor:
    """(B, ...) shrunk until the norm of each is at most ``at_most``."""
    return vectors * (at_most / norm(vectors, power).clamp_min(NEUTRAL)).clamp_max(1.0)


def steepest(gradients: Tensor, power: float) -> Tensor:
    """(B, ...) directions of norm 1 along which a linear function grows most: powers of the gradient.

    The dual of the norm (Holder): sign(g) |g|^(1 / (power - 1)); the gradient for 2, its signs for infinity.
    """
    directions = gradients.sign() * gradients.abs().pow(1 / (power - 1))
    return directions / norm(directions, power).clamp_min(NEUTRAL)
