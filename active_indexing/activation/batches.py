"""Images of one working size, moved together as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from active_indexing.activation.interface import ActivationContext, ActivationJob, ActivationResult
from active_indexing.activation.working_image import same_shape

MoveBatch = Callable[[Sequence[ActivationJob], ActivationContext], list[ActivationResult]]
"""Moves images whose working images have one shape."""


def in_groups(
    jobs: Sequence[ActivationJob], context: ActivationContext, move: MoveBatch, scale: float
) -> list[ActivationResult]:
    """Move images of any sizes.

    Args:
        jobs: the images.
        context: descriptor, index and settings.
        move: moves those of one working size.
        scale: edge of the working image / edge of the descriptor's input.

    Returns:
        In the order of the jobs.
    """
    moved: dict[int, ActivationResult] = {}
    for group in same_shape(jobs, context, scale):
        moved |= zip([id(job) for job in group], _as_memory_allows(group, context, move), strict=True)
    return [moved[id(job)] for job in jobs]


def _as_memory_allows(
    jobs: Sequence[ActivationJob], context: ActivationContext, move: MoveBatch
) -> list[ActivationResult]:
    """In halves when the accelerator's memory is too small."""
    try:
        return move(jobs, context)
    except torch.OutOfMemoryError:
        if len(jobs) == 1:
            raise
    half = len(jobs) // 2
    return [*_as_memory_allows(jobs[:half], context, move), *_as_memory_allows(jobs[half:], context, move)]
