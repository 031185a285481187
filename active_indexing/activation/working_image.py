"""The small image that is worked on, whatever the size of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.interface import Scene, Task, opacity
from active_indexing.descriptors.preprocessing import Preprocessing

WORKING_SCALE = 2**0.5
"""Edge of the working image / edge of the descriptor's input: half the area is sharp; chosen on photos
200-263 with the default descriptor."""


def working_image(scene: Scene) -> Preprocessing:
    """From a photo to the small image that is worked on, in [0, 1]."""
    own = scene.descriptor.preprocessing
    return replace(own, size=round(WORKING_SCALE * own.size), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def same_shape(tasks: Sequence[Task], scene: Scene) -> list[list[Task]]:
    """Images in groups of one working size: those of a group can be worked on together."""
    groups: dict[tuple[int, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault(working_image(scene).output_size(*task.view.shape[:2]), []).append(task)
    return list(groups.values())


def shrunk_opacity(task: Task, shape: tuple[int, int]) -> Tensor:
    """(1, H, W) float32 in [0, 1]: what of each working pixel can be seen."""
    if task.alpha is None:
        return torch.ones(1, *shape)
    return F.interpolate(opacity(task.alpha)[None], shape, mode="bilinear", antialias=True)[0]


def enlarged(shift: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, C, h, w) to (B, C, H, W), as a perturbation is laid over an image of that size."""
    return F.interpolate(shift, shape, mode="bilinear", align_corners=False)
