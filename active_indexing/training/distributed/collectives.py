"""What several training processes do together; every function is the identity in a single one.

One process per GPU, or one process of one thread per core: a network of this size keeps one thread busy, and
processes meet once per step where threads meet at every layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is summed over the processes before each keeps the rows it gave."""

    @staticmethod
    def forward(context: Any, rows: torch.Tensor) -> torch.Tensor:
        gathered = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        count = len(gradient) // world_size()
        return gradient[rank() * count : (rank() + 1) * count]


def gather(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, in rank order; differentiable.

    Args:
        rows: (N, ...), with the same N in every process.

    Returns:
        (N * world size, ...).
    """
    if world_size() == 1:
        return rows
    gathered: torch.Tensor = _Gather.apply(rows)
    return gathered


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def average_batch_statistics(network: nn.Module) -> None:
    """Make the running means and variances of batch norms the same in every process: their mean."""
    if world_size() == 1:
        return
    for buffer in network.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world_size()
