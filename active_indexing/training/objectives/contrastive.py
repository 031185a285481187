"""Contrastive losses of copy detection: InfoNCE and differential entropy, over pairs chosen by masks.

[SSCD] Pizzi et al., "A Self-Supervised Descriptor for Image Copy Detection", CVPR 2022, section 3.
[KoLeo] Sablayrolles et al., "Spreading vectors for similarity search", ICLR 2019, eq. (2).

Anchors are the rows: the N views of this process. Candidates are the columns: the M views of all processes,
the anchors among them. Descriptors have unit norm, so the similarity is s_ij = z_i . z_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

# Published [SSCD] settings.
TEMPERATURE = 0.05
ENTROPY_WEIGHT = 30.0
# Added inside the logarithm of InfoNCE, and the floor of a squared distance under a logarithm.
EPSILON = 1e-6
# Similarity given to pairs that a maximum must not see; below every cosine.
EXCLUDED = -100.0


class Pairs(NamedTuple):
    """Which (anchor, candidate) pairs attract and which repel; both (N, M) bool. The rest is ignored."""

    positive: torch.Tensor
    negative: torch.Tensor


class Views(NamedTuple):
    """What is known of a view besides its pixels.

    Attributes:
        image: (N,) int64, which image it shows.
        reference: (N,) bool, whether it is the lightly edited view that stands for the indexed original.
        number: (N,) int64, unique over all processes.
    """

    image: torch.Tensor
    reference: torch.Tensor
    number: torch.Tensor


def pairs_of_copies(anchors: Views, candidates: Views, *, asymmetric: bool = False) -> Pairs:
    """Views of one image attract, views of two images repel.

    Args:
        anchors: N views.
        candidates: M views, the anchors among them.
        asymmetric: attract only a reference and an edited view to each other, as retrieval does; two edited
            views then neither attract nor repel. Otherwise every two views attract, as in [SSCD].
    """
    same = anchors.image[:, None] == candidates.image[None]
    positive = same & (anchors.number[:, None] != candidates.number[None])
    if asymmetric:
        positive &= anchors.reference[:, None] != candidates.reference[None]
    return Pairs(positive, ~same)


def info_nce(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    pairs: Pairs,
    temperature: float = TEMPERATURE,
    *,
    average_positives: bool = False,
) -> torch.Tensor:
    """InfoNCE of [SSCD] section 3.2: other positives stay out of the denominator.

    l_ij = -log( e^(s_ij/t) / (e^(s_ij/t) + sum over negatives k of e^(s_ik/t) + 1e-6) ), summed over the
    positives j of i, averaged over i.

    Args:
        anchors: (N, D) unit norm.
        candidates: (M, D) unit norm.
        pairs: which of them attract and repel.
        temperature: t.
        average_positives: divide the sum over j by the number of positives, as [SSCD] does with mixup.

    Returns:
        Scalar.
    """
    logits = anchors @ candidates.T / temperature  # (N, M)
    weights = logits.exp()
    repulsion = (weights * pairs.negative).sum(dim=1, keepdim=True)  # (N, 1)
    losses = (weights + repulsion + EPSILON).log() - logits
    per_anchor = (losses * pairs.positive).sum(dim=1)
    if average_positives:
        per_anchor = per_anchor / pairs.positive.sum(dim=1).clamp(min=1)
    return per_anchor.mean()


def entropy_loss(anchors: torch.Tensor, candidates: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """Negative log distance to the nearest negative, [KoLeo]; spreads descriptors over the sphere.

    L = -mean_i log sqrt( max(2 - 2 max over negatives k of s_ik, 1e-6) ); not yet times its weight.

    Args:
        anchors: (N, D) unit norm.
        candidates: (M, D) unit norm.
        pairs: only its negatives are used.

    Returns:
        Scalar.
    """
    similarities = (anchors @ candidates.T).masked_fill(~pairs.negative, EXCLUDED)
    squared = (2 - 2 * similarities.amax(dim=1)).clamp(min=EPSILON)
    return -squared.sqrt().log().mean()


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the two terms.

    Attributes:
        temperature: of InfoNCE.
        entropy_weight: of the entropy term; 0 leaves it out. [SSCD] uses 30 and advises 10 for new set-ups.
        entropy_ramp_steps: the weight grows linearly from 0 over so many steps; 0 is at once.
        asymmetric: see :func:`pairs_of_copies`.
    """

    temperature: float = TEMPERATURE
    entropy_weight: float = ENTROPY_WEIGHT
    entropy_ramp_steps: int = 0
    asymmetric: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the InfoNCE temperature must be above 0, got {self.temperature}.")
        if self.entropy_weight < 0:
            raise ValueError(f"the entropy weight must be 0 or more, got {self.entropy_weight}.")
        if self.entropy_ramp_steps < 0:
            raise ValueError(f"the entropy ramp must be 0 or more steps, got {self.entropy_ramp_steps}.")

    def entropy_weight_at(self, step: int) -> float:
        """Weight of the entropy term at a step."""
        ramp = min(1.0, step / self.entropy_ramp_steps) if self.entropy_ramp_steps else 1.0
        return self.entropy_weight * ramp


def contrastive_loss(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    pairs: Pairs,
    config: LossConfig,
    step: int = 0,
    *,
    mixed: bool = False,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Both terms together, and what to log of them.

    Args:
        anchors: (N, D) unit norm.
        candidates: (M, D) unit norm.
        pairs: which of them attract and repel.
        config: the weights.
        step: for the ramp of the entropy weight.
        mixed: whether the views were mixed (:mod:`active_indexing.training.mixing`).

    Returns:
        Scalar loss, and scalars by name.
    """
    nce = info_nce(anchors, candidates, pairs, config.temperature, average_positives=mixed)
    entropy = entropy_loss(anchors, candidates, pairs)
    with torch.no_grad():
        similarities = anchors @ candidates.T
        nearest = similarities.masked_fill(~pairs.negative, EXCLUDED).amax(dim=1)
        log = {
            "InfoNCE": nce.item(),
            "entropy": entropy.item(),
            "positive_sim": _masked_mean(similarities, pairs.positive),
            "negative_sim": _masked_mean(similarities, pairs.negative),
            "nearest_negative_sim": nearest.mean().item(),
            "center_l2_norm": candidates.mean(dim=0).norm().item(),
        }
    weight = config.entropy_weight_at(step)
    return (nce + weight * entropy if weight else nce), log


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> float:
    return (values * mask).sum().item() / max(1, int(mask.sum()))
