"""InfoNCE with KoLeo and mixing, as SSCD trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.contrastive import (
    LossConfig,
    Pairs,
    Views,
    contrastive_loss,
    pairs_of_copies,
)
from active_indexing.training.objectives.interface import Objective, Scalars, StepViews, Student, Teacher
from active_indexing.training.objectives.mixing import MixingConfig, mix_views, pairs_of_mixed


@dataclass(frozen=True, kw_only=True)
class SSCDConfig:
    """Contrast of the student's own descriptors.

    Attributes:
        loss: its terms.
        mixing: of views; ``None`` mixes nothing.
    """

    wants_rows: ClassVar[bool] = False

    loss: LossConfig = field(default_factory=LossConfig)
    mixing: MixingConfig | None = None

    def __post_init__(self) -> None:
        if self.mixing and self.loss.asymmetric:
            raise ValueError("mixed views have no reference view; use a symmetric loss or no mixing.")

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """One network with one head."""
        return build_network(backbone, dim, gem_p)

    def deployed(self, network: nn.Module) -> nn.Module:
        """All of it."""
        return network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> SSCD:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        if teacher is not None:
            raise ValueError("this recipe has no teacher; leave --teacher out, or choose a distillation.")
        return SSCD(self)


class SSCD(Objective):
    """Loss of [SSCD] over the views of all processes."""

    def __init__(self, config: SSCDConfig) -> None:
        super().__init__()
        self.config = config

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        inputs, pairs = mixed_inputs(student, batch, self.config.mixing, asymmetric=self._asymmetric)
        descriptors = student.describe(inputs)
        return self.contrast(descriptors, pairs, batch.step)

    def contrast(self, descriptors: torch.Tensor, pairs: Pairs, step: int) -> tuple[torch.Tensor, Scalars]:
        """The loss of descriptors that are there already; (N, D) unit norm, of this process."""
        candidates = collectives.gather(descriptors)
        mixed = self.config.mixing is not None
        return contrastive_loss(descriptors, candidates, pairs, self.config.loss, step, mixed=mixed)

    @property
    def _asymmetric(self) -> bool:
        return self.config.loss.asymmetric


def mixed_inputs(
    student: Student, batch: StepViews, mixing: MixingConfig | None, *, asymmetric: bool
) -> tuple[torch.Tensor, Pairs]:
    """Normalised inputs, mixed if asked for, and which views of all processes attract and repel.

    Returns:
        (N, 3, S, S), and (N, M) masks on the device of the views, M views in all processes.
    """
    inputs = student.inputs(batch.pixels)
    if mixing is not None:
        local = batch.views.image.unique(return_inverse=True)[1]
        inputs, labels = mix_views(inputs, local, mixing, batch.generator)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        pairs = pairs_of_mixed(labels, collectives.rank(), collectives.world_size())
    else:
        pairs = pairs_of_copies(batch.views, all_views(batch), asymmetric=asymmetric)
    return inputs, Pairs(*(mask.to(inputs.device) for mask in pairs))


def all_views(batch: StepViews) -> Views:
    """What the views of all processes show, in rank order, on the CPU."""
    # As numbers: not every backend gathers booleans.
    device = batch.pixels.device
    image, reference, number = (collectives.gather(field.long().to(device)).cpu() for field in batch.views)
    return Views(image, reference.bool(), number)
