"""Batch norms around the last layer of a network in training; one linear layer when it is deployed.

[BoT] Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR Workshops
2019, section 3.5: a batch norm whose bias stays zero between features and classifier.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import GEM_FLOOR, GeM
from active_indexing.training.objectives.last_layer import with_last, without_last


class LearnedGeM(nn.Module):
    """Generalised-mean pooling whose exponent is trained, from 3; (B, C, H, W) to (B, C, 1, 1)."""

    def __init__(self, p: float = 3.0) -> None:
        """Args: p: at the start."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """See the class; float32 as :class:`GeM`."""
        powers = maps.float().clamp(min=GEM_FLOOR).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / self.p)

    def settled(self) -> GeM:
        """The pooling with the exponent that was learned, at least 1."""
        return GeM(max(1.0, float(self.p.detach())))


def with_learned_pooling(network: nn.Module) -> nn.Module:
    """The network with its pooling trained, in place.

    Raises:
        ValueError: if it has no pooling of the project.
    """
    for name, module in network.named_children():
        if isinstance(module, GeM):
            setattr(network, name, LearnedGeM(module.p))
            return network
    raise ValueError(f"{type(network).__name__} has no pooling whose exponent could be trained.")


def with_settled_pooling(network: nn.Module) -> nn.Module:
    """The network with the exponent that was learned, if one was, in place."""
    for name, module in network.named_children():
        if isinstance(module, LearnedGeM):
            setattr(network, name, module.settled())
    return network


class NormalisedHead(nn.Module):
    """A network whose features and descriptors may each go through a batch norm.

    Args:
        network: from (B, 3, S, S) to raw (B, dim); taken over, its last layer becomes the projection.
        feature_norm: a batch norm before the projection, its bias frozen at 0.
        projection_norm: a batch norm after the projection.
        frozen_bias: the bias of that one is frozen too.
    """

    def __init__(
        self, network: nn.Module, *, feature_norm: bool, projection_norm: bool, frozen_bias: bool = True
    ) -> None:
        super().__init__()
        self.trunk, self.projection = without_last(network)
        width, dim = self.projection.in_features, self.projection.out_features
        self.feature_norm = _norm(width, frozen_bias=True) if feature_norm else nn.Identity()
        self.projection_norm = _norm(dim, frozen_bias=frozen_bias) if projection_norm else nn.Identity()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) to raw (B, dim): what is deployed."""
        return self.heads(inputs)[1]

    def heads(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, S, S) to raw features, (B, width), and raw descriptors, (B, dim)."""
        features: torch.Tensor = self.feature_norm(self.trunk(inputs))
        descriptors: torch.Tensor = self.projection_norm(self.projection(features))
        return features, descriptors

    def merged(self) -> nn.Module:
        """The network with norms and projection in one linear layer; what it gives in evaluation mode.

        With y = a1 f + b1 and z = a2 (W y + b) + b2, the layer is a2 W a1 and a2 (W b1 + b) + b2.
        """
        first_scale, first_shift = _affine(self.feature_norm, self.projection.in_features)
        second_scale, second_shift = _affine(self.projection_norm, self.projection.out_features)
        weight = self.projection.weight.detach().double()
        bias = weight @ first_shift
        if self.projection.bias is not None:
            bias = bias + self.projection.bias.detach().double()
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(second_scale[:, None] * weight * first_scale)
            layer.bias.copy_(second_scale * bias + second_shift)
        return with_settled_pooling(with_last(copy.deepcopy(self.trunk), layer))


def _norm(width: int, *, frozen_bias: bool) -> nn.Module:
    norm = nn.BatchNorm1d(width)
    norm.bias.requires_grad_(not frozen_bias)
    return norm


def _affine(norm: nn.Module, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of a batch norm in evaluation mode, float64; of nothing, 1 and 0."""
    if isinstance(norm, nn.Identity):
        return torch.ones(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    return scale, state["bias"] - scale * state["running_mean"]
