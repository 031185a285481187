"""Contrast with margins against a memory of earlier batches, of the first place of ISC21's descriptor track.

[XBM] Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020. [Contrastive] Hadsell et al.,
"Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006; both as pytorch-metric-learning has
them. [ISC] Yokoo, "Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction for
Accurate Copy Detection", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.contrastive import EPSILON
from active_indexing.training.objectives.interface import Objective, Scalars, StepViews, Student, Teacher
from active_indexing.training.objectives.normalised_head import NormalisedHead
from active_indexing.training.objectives.queues import NOBODY, FeatureQueue


def margin_contrast(
    anchors: torch.Tensor,
    candidates: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    positive_margin: float,
    negative_margin: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """[Contrastive] on Euclidean distances: positives max(d - m_p, 0), negatives max(m_n - d, 0).

    Args:
        anchors: (N, D) unit norm, with gradients.
        candidates: (M, D) unit norm.
        positive: (N, M) bool.
        negative: (N, M) bool.
        positive_margin: m_p.
        negative_margin: m_n.

    Returns:
        Two scalars: means over the pairs whose term is not zero.
    """
    distances = (2 - 2 * anchors @ candidates.T).clamp(min=EPSILON).sqrt()
    pulled = F.relu(distances - positive_margin)[positive]
    pushed = F.relu(negative_margin - distances)[negative]
    return _mean_of_active(pulled), _mean_of_active(pushed)


def _mean_of_active(terms: torch.Tensor) -> torch.Tensor:
    return terms.sum() / (terms > 0).sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class CrossBatchConfig:
    """Settings of [ISC]; the defaults are those of its first step, v83.

    Attributes:
        memory_rows: descriptors of this and earlier steps to compare with.
        positive_margin: distance up to which matches are not pulled.
        negative_margin: distance from which others are not pushed.
        support: ``--support`` images are further negatives.
    """

    wants_rows: ClassVar[bool] = False

    memory_rows: int = 20_000
    positive_margin: float = 0.0
    negative_margin: float = 1.0
    support: bool = False

    def __post_init__(self) -> None:
        if self.memory_rows < 1:
            raise ValueError(f"the memory needs at least 1 row, got {self.memory_rows}.")
        if not 0 <= self.positive_margin < self.negative_margin:
            raise ValueError(
                f"margins must be 0 <= positive < negative, got {self.positive_margin} and "
                f"{self.negative_margin}."
            )

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """Trunk, projection without bias, batch norm."""
        network = NormalisedHead(
            build_network(backbone, dim, gem_p), feature_norm=False, projection_norm=True, frozen_bias=False
        )
        network.projection.register_parameter("bias", None)
        nn.init.xavier_normal_(network.projection.weight)
        return network

    def deployed(self, network: nn.Module) -> nn.Module:
        """In one piece."""
        return network.merged() if isinstance(network, NormalisedHead) else network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> CrossBatch:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        if teacher is not None:
            raise ValueError("this recipe has no teacher; leave --teacher out, or choose a distillation.")
        return CrossBatch(self, dim)


class CrossBatch(Objective):
    """Contrast of a process's own views with the memory, into which the views of all processes go.

    Args:
        config: margins and length.
        dim: of a descriptor.
    """

    def __init__(self, config: CrossBatchConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.memory = FeatureQueue(config.memory_rows, dim)
        self.wants_support = config.support
        self._new = torch.empty(0, dim), torch.empty(0, dtype=torch.int64)

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        pixels, images = batch.pixels, batch.views.image.to(batch.pixels.device)
        if batch.side.support is not None:
            pixels = torch.cat([pixels, batch.side.support])
            images = torch.cat([images, _unseen(len(batch.side.support), batch.step).to(images)])
        anchors = student.describe(student.inputs(pixels))
        self._new = collectives.gather(anchors.detach()), collectives.gather(images)
        candidates, shown = self._candidates()
        match = images[:, None] == shown[None]
        own = torch.arange(len(images), device=images.device)
        positive = match.clone()
        positive[own, own + collectives.rank() * len(images)] = False
        pulled, pushed = margin_contrast(
            anchors,
            candidates,
            positive,
            ~match,
            self.config.positive_margin,
            self.config.negative_margin,
        )
        return pulled + pushed, {"pulled": pulled.item(), "pushed": pushed.item()}

    def updated(self, network: nn.Module) -> None:
        """The memory takes the step's descriptors."""
        self.memory.push(*self._new)

    def _candidates(self) -> tuple[torch.Tensor, torch.Tensor]:
        """This step's rows, and those of the memory that they will not replace; and what each shows."""
        rows, images = self._new
        old = self.memory.images != NOBODY
        taken = torch.arange(min(len(rows), len(old)), device=old.device)
        old[(int(self.memory.position) + taken) % len(old)] = False
        memory = self.memory.features[old].to(rows)
        return torch.cat([rows, memory]), torch.cat([images, self.memory.images[old].to(images)])


def _unseen(count: int, step: int) -> torch.Tensor:
    """Numbers of images that are seen once: below every number of an image and of nobody."""
    first = (step * collectives.world_size() + collectives.rank()) * count
    return NOBODY - 1 - first - torch.arange(count)
