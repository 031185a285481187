"""Batch norm over the batches of all training processes, as if one process had all of them.

Names and shapes of parameters and buffers stay, so that checkpoints and exports do not know of it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from active_indexing.training.distributed import collectives


def synchronise_batch_norms(network: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch norm by one over all processes; a single process keeps its network.

    Args:
        network: changed in place (unless it is a batch norm itself); parameters stay the same objects.
        device: where it trains. On a GPU torch's own ``SyncBatchNorm`` takes over what it can: it would lose
            the activation inside timm's batch norms.

    Returns:
        The network.
    """
    if collectives.world_size() == 1:
        return network
    if isinstance(network, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if device.type == "cuda" and not list(network.children()):
            converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return converted
        return SynchronisedBatchNorm(network)
    for name, child in network.named_children():
        setattr(network, name, synchronise_batch_norms(child, device))
    return network


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm of any backend whose training mode sees the maps of all processes.

    Means and variances are those of the union of the batches, from each process's own by the formula of Chan,
    Golub and LeVeque (1979), which does not cancel as a sum of squares does. Their gradients are summed over
    processes, like those of :func:`active_indexing.training.processes.gather`. Evaluation mode is torch's.

    Args:
        norm: gives its parameters, buffers and settings, and its submodules (timm's dropout and activation),
            which are applied in order.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
        )
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        for name, child in norm.named_children():
            self.add_module(name, child)
        self.train(norm.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm needs maps of shape (N, C, ...), got {tuple(input.shape)}.")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) maps to normalised maps of the same shape and type."""
        self._check_input_dim(input)
        outputs = self._normalised(input) if self.training else super().forward(input)
        for child in self.children():
            outputs = child(outputs)
        return outputs

    def _normalised(self, inputs: torch.Tensor) -> torch.Tensor:
        maps = inputs.float()
        mean, variance, count = _statistics(maps)
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias
        channels = (-1, *[1] * (maps.ndim - 2))
        return (maps * scale.view(channels) + shift.view(channels)).to(inputs.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Move the running statistics, with the unbiased variance, as ``nn.BatchNorm2d`` does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1), momentum)


def _statistics(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (C), biased variance (C) and count (scalar) of a channel's values in all processes."""
    dims = [0, *range(2, maps.ndim)]
    variance, mean = torch.var_mean(maps, dims, correction=0)
    count = torch.full_like(mean, maps.numel() // maps.shape[1])
    counts, means, variances = collectives.gather(torch.stack((count, mean, variance))[None]).unbind(1)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return mean, variance, total[0].detach()
