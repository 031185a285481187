"""Similarity distillation of kd_icd: the student learns how a teacher compares a view with many others.

[SEED] Fang et al., "SEED: Self-supervised Distillation For Visual Representation", ICLR 2021, eq. (4); with
the settings of the published kd_icd program: one temperature on both sides, the term divided by 10, beside
SSCD's InfoNCE. Teacher features enter as the teacher gives them, un-normalised if it does not normalise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.interface import Objective, Scalars, StepViews, Student, Teacher
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.queues import PUBLISHED_ROWS, FeatureQueue
from active_indexing.training.objectives.sscd import SSCD, SSCDConfig, mixed_inputs

TEMPERATURE = 0.05
WEIGHT = 0.1  # published as a division by 10


def similarity_distillation(
    student: torch.Tensor, teacher: torch.Tensor, dictionary: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Cross entropy of how both compare each view with a dictionary, [SEED] eq. (4).

    L = -mean_i sum_k p_ik log q_ik, with p = softmax(t D' / tau) and q = softmax(s D' / tau).

    Args:
        student: (N, D), with gradients.
        teacher: (N, D) of the same views.
        dictionary: (K, D) of the teacher's features.
        temperature: tau.

    Returns:
        Scalar.
    """
    targets = (teacher @ dictionary.T / temperature).softmax(dim=1)
    scores = (student @ dictionary.T / temperature).log_softmax(dim=1)
    return -(targets * scores).sum(dim=1).mean()


@dataclass(frozen=True, kw_only=True)
class SimilarityDistillationConfig:
    """kd_icd.

    Attributes:
        loss: of the student's own contrast; kd_icd has no entropy term unless it is asked for.
        mixing: of views, which student and teacher see alike; ``None`` mixes nothing.
        temperature: of both sides.
        weight: of the distillation.
        queue_rows: teacher features of earlier steps in the dictionary.
    """

    wants_rows: ClassVar[bool] = False

    loss: LossConfig = field(default_factory=lambda: LossConfig(entropy_weight=0.0))
    mixing: MixingConfig | None = None
    temperature: float = TEMPERATURE
    weight: float = WEIGHT
    queue_rows: int = PUBLISHED_ROWS

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the distillation temperature must be above 0, got {self.temperature}.")
        if self.queue_rows < 1:
            raise ValueError(f"the teacher's queue needs at least 1 row, got {self.queue_rows}.")

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """One network with one head."""
        return build_network(backbone, dim, gem_p)

    def deployed(self, network: nn.Module) -> nn.Module:
        """All of it."""
        return network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> SimilarityDistillation:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        return SimilarityDistillation(self, dim, required(teacher))


def required(teacher: Teacher | None) -> Teacher:
    """The teacher.

    Raises:
        ValueError: if there is none.
    """
    if teacher is None:
        raise ValueError("a distillation needs a teacher; give --teacher or --teacher_name.")
    return teacher


class SimilarityDistillation(Objective):
    """InfoNCE of the student, and similarity distillation over current and past teacher features.

    Args:
        config: the weights.
        dim: of student and teacher.
        teacher: frozen.
    """

    def __init__(self, config: SimilarityDistillationConfig, dim: int, teacher: Teacher) -> None:
        super().__init__()
        self.config, self._teacher = config, teacher
        self.contrast = SSCD(SSCDConfig(loss=config.loss, mixing=config.mixing))
        self.queue = FeatureQueue(config.queue_rows, dim)

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        asymmetric = self.config.loss.asymmetric
        inputs, pairs = mixed_inputs(student, batch, self.config.mixing, asymmetric=asymmetric)
        descriptors = student.describe(inputs)
        features = self._teacher(inputs * student.std + student.mean)
        if features.shape[1] != descriptors.shape[1]:
            raise ValueError(
                f"the teacher gives {features.shape[1]} values per image and the student "
                f"{descriptors.shape[1]}; pass --dim {features.shape[1]}."
            )
        keys = collectives.gather(features)
        dictionary = torch.cat([keys, self.queue.features])
        distillation = similarity_distillation(descriptors, features, dictionary, self.config.temperature)
        self.queue.push(keys)
        contrast, log = self.contrast.contrast(descriptors, pairs, batch.step)
        return contrast + self.config.weight * distillation, log | {"distillation": distillation.item()}
