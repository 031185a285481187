"""Mixup and CutMix of a batch of views, with the soft labels that decide which pairs match.

[mixup] Zhang et al., ICLR 2018. [CutMix] Yun et al., ICCV 2019. Settings: [SSCD] section 3.4 as published
(element mode, partner = the mirrored element of the batch).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from active_indexing.training.objectives.contrastive import Pairs


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """Published [SSCD] settings.

    Attributes:
        probability: that one view is mixed at all.
        alpha: of the Beta(alpha, alpha) distribution of the share, for both kinds.
        cutmix_probability: that a mixed view is cut rather than blended.
    """

    probability: float = 0.05
    alpha: float = 2.0
    cutmix_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("probability", "cutmix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"mixing {name} must be in [0, 1], got {getattr(self, name)}.")
        if not self.alpha > 0:
            raise ValueError(f"mixing alpha must be above 0, got {self.alpha}.")


def mix_views(
    pixels: torch.Tensor, images: torch.Tensor, config: MixingConfig, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix some views with their mirrored partners, view i with view N-1-i.

    Args:
        pixels: (N, 3, S, S); left as it is.
        images: (N,) int64 in [0, C): which image each view shows.
        config: how often and how much.
        generator: CPU generator of the draws.

    Returns:
        (N, 3, S, S) mixed pixels, and (N, C) float32 soft labels, share * onehot + (1 - share) * partner's.
    """
    count, size = len(pixels), pixels.shape[-1]
    chosen = torch.rand(count, generator=generator) < config.probability
    cut = torch.rand(count, generator=generator) < config.cutmix_probability
    share = torch.where(chosen, _beta(count, config.alpha, generator), torch.ones(count))
    box = _boxes(share, size, generator)  # (N, S, S) bool, what the partner covers under CutMix
    area = box.float().mean(dim=(1, 2))
    share = torch.where(chosen & cut, 1 - area, share)
    blend = share[:, None, None].expand(count, size, size)
    keep = torch.where(cut[:, None, None], (~box).float(), blend)
    keep = torch.where(chosen[:, None, None], keep, 1.0)[:, None].to(pixels)
    mixed = pixels * keep + pixels.flip(0) * (1 - keep)
    labels = torch.nn.functional.one_hot(images, int(images.max()) + 1).float()
    weight = share[:, None].to(labels)
    return mixed, weight * labels + (1 - weight) * labels.flip(0)


def pairs_of_mixed(labels: torch.Tensor, rank: int, world_size: int) -> Pairs:
    """Views that share any source image attract; everything on other processes repels.

    Args:
        labels: (N, C) soft labels of this process.
        rank: which block of N candidates is this process's own.
        world_size: number of processes, each with N views.

    Returns:
        Pairs of shape (N, N * world_size).
    """
    count = len(labels)
    match = labels @ labels.T > 0  # (N, N)
    own = slice(rank * count, (rank + 1) * count)
    positive = torch.zeros(count, count * world_size, dtype=torch.bool, device=labels.device)
    negative = ~positive
    positive[:, own] = match & ~torch.eye(count, dtype=torch.bool, device=labels.device)
    negative[:, own] = ~match
    return Pairs(positive, negative)


def _beta(count: int, alpha: float, generator: torch.Generator) -> torch.Tensor:
    """Draws of Beta(alpha, alpha) as G1 / (G1 + G2) with gamma variates."""
    gammas = torch._standard_gamma(torch.full((2, count), alpha), generator=generator)
    return gammas[0] / gammas.sum(dim=0)


def _boxes(share: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Boxes of side ratio sqrt(1 - share) at a uniform centre, clipped, as [CutMix] draws them."""
    side = size * (1 - share).clamp(min=0).sqrt()
    inside = torch.ones(len(share), size, size, dtype=torch.bool)
    for axis in (1, 2):
        centre = torch.rand(len(share), generator=generator) * size
        low, high = (centre - side / 2).floor(), (centre + side / 2).floor()
        position = torch.arange(size)[None]
        within = (position >= low[:, None]) & (position < high[:, None])  # (N, S)
        inside &= within.unsqueeze(3 - axis)
    return inside
