"""The small image that is worked on, whatever the size of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.interface import ActivationContext, ActivationJob, opacity
from active_indexing.descriptors.preprocessing import Preprocessing

WORKING_SCALE = 2**0.5
"""Edge of the working image / edge of the descriptor's input: half the area is sharp; chosen on photos
200-263 with the default descriptor."""


def working_image(context: ActivationContext, scale: float = WORKING_SCALE) -> Preprocessing:
    """From a photo to the small image that is worked on, in [0, 1]."""
    own = context.descriptor.preprocessing
    return replace(own, size=round(scale * own.size), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def same_shape(
    jobs: Sequence[ActivationJob], context: ActivationContext, scale: float = WORKING_SCALE
) -> list[list[ActivationJob]]:
    """Images in groups of one working size: those of a group can be worked on together."""
    groups: dict[tuple[int, int], list[ActivationJob]] = {}
    for job in jobs:
        groups.setdefault(working_image(context, scale).output_size(*job.srgb.shape[:2]), []).append(job)
    return list(groups.values())


def shrunk_opacity(job: ActivationJob, shape: tuple[int, int]) -> Tensor:
    """(1, H, W) float32 in [0, 1]: what of each working pixel can be seen."""
    if job.alpha is None:
        return torch.ones(1, *shape)
    return F.interpolate(opacity(job.alpha)[None], shape, mode="bilinear", antialias=True)[0]


def enlarged(shift: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, C, h, w) to (B, C, H, W), as a perturbation is laid over an image of that size."""
    return F.interpolate(shift, shape, mode="bilinear", align_corners=False)
