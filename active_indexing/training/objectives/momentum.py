"""Contrast with the keys of a slowly following copy of the student, and repulsion from the hardest negative.

[MoCo] He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import nn

# Floor under the logarithm of the hard-negative term (RDCD).
FLOOR = 1e-3


def momentum_contrast(
    queries: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Cross entropy of finding a query's key among the queue, [MoCo] eq. (1).

    L = -mean_i log( e^(q_i k_i / T) / (e^(q_i k_i / T) + sum_n e^(q_i n / T)) ).

    Args:
        queries: (N, D) unit norm, with gradients.
        keys: (N, D) unit norm, of other views of the same images.
        queue: (K, D) unit norm, of other images.
        temperature: T.
    """
    own = (queries * keys).sum(dim=1, keepdim=True)
    logits = torch.cat([own, queries @ queue.T], dim=1) / temperature
    return -logits.log_softmax(dim=1)[:, 0].mean()


def hard_negative_term(queries: torch.Tensor, queue: torch.Tensor) -> torch.Tensor:
    """L = -mean_i log max(1 - max over rows n of the queue of q_i n, 1e-3); not yet times its weight."""
    hardest = (queries @ queue.T).amax(dim=1)
    return -(1 - hardest).clamp(min=FLOOR).log().mean()


@torch.no_grad()
def follow(follower: nn.Module, network: nn.Module, momentum: float) -> None:
    """Move a copy's weights towards the network's: f <- m f + (1 - m) w; buffers are copied.

    Args:
        follower: changed.
        network: of the same architecture.
        momentum: m.
    """
    for old, new in zip(follower.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - momentum)
    for kept, current in zip(follower.buffers(), network.buffers(), strict=True):
        kept.copy_(current)
