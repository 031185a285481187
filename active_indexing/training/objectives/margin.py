"""ViT4ICD: two classifications with margin, features that stay compatible, pairs known from the ground truth.

[ViT4ICD] Tan, Wang and Shan, "Vision Transformers are Active Learners for Image Copy Detection", 2024, and
its published program. [CosFace] Wang et al., CVPR 2018, eq. (4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.objectives.distillation import required
from active_indexing.training.objectives.disturbances import add_drop_path, add_wave_blocks
from active_indexing.training.objectives.interface import (
    Objective,
    Scalars,
    SideImages,
    StepViews,
    Student,
    Teacher,
)
from active_indexing.training.objectives.normalised_head import NormalisedHead, with_learned_pooling


def margin_cross_entropy(
    features: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor, scale: float, margin: float
) -> torch.Tensor:
    """[CosFace]: cross entropy of s (cos - m) for the own class and s cos for the others.

    Args:
        features: (N, D) unit norm.
        classes: (C, D) of any norm.
        labels: (N,) int64 in [0, C).
        scale: s.
        margin: m.
    """
    cosines = features @ F.normalize(classes, dim=1).T
    return F.cross_entropy(scale * (cosines - margin * F.one_hot(labels, len(classes))), labels)


def squared_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of two sets of unit rows, row by row; (N, D) each."""
    return (first - second).square().sum(dim=1).mean()


def nearest_negative_distance(rows: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the squared distance to the nearest row of another image.

    Args:
        rows: (N, D) unit norm.
        images: (N,) int64, what each shows.

    Returns:
        Scalar; rows without any other image do not count.
    """
    foreign = images[:, None] != images[None]
    distances = (2 - 2 * rows @ rows.T).masked_fill(~foreign, torch.inf).amin(dim=1)
    known = distances.isfinite()
    return torch.where(known, distances, 0).sum() / known.sum().clamp(min=1)


class ClassifiedNetwork(NormalisedHead):
    """With the two classifiers, one on the features and one on the descriptors.

    Args:
        network: see :class:`NormalisedHead`.
        classes: how many.
        batch_norms: around the projection.
    """

    def __init__(self, network: nn.Module, classes: int, *, batch_norms: bool) -> None:
        super().__init__(network, feature_norm=batch_norms, projection_norm=batch_norms)
        width, dim = self.projection.in_features, self.projection.out_features
        self.feature_classes = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, width)))
        self.descriptor_classes = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dim)))


@dataclass(frozen=True, kw_only=True)
class MarginConfig:
    """Settings of [ViT4ICD]; the defaults are those of its first stage.

    Attributes:
        classes: identities; published, 100,000.
        scale: of both classifications.
        feature_margin: of the classification of features.
        descriptor_margin: of the classification of descriptors.
        cnn: batch norms around the projection, a trained pooling and wave blocks.
        drop_path: rate of the last block of a transformer.
        compatibility: weight of the distance to the teacher's descriptors of ``--support`` images.
        pairs: weight of the pull of ``--pairs`` and the push from their nearest negatives.
    """

    wants_rows: ClassVar[bool] = False

    classes: int = 100_000
    scale: float = 64.0
    feature_margin: float = 0.35
    descriptor_margin: float = 0.6
    cnn: bool = True
    drop_path: float = 0.0
    compatibility: float = 0.0
    pairs: float = 0.0

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classification needs at least 2 classes, got {self.classes}.")
        if not self.scale > 0 or self.feature_margin < 0 or self.descriptor_margin < 0:
            raise ValueError(
                f"the scale must be above 0 and margins 0 or more, got {self.scale}, "
                f"{self.feature_margin} and {self.descriptor_margin}."
            )

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """Trunk, projection, classifiers."""
        network = build_network(backbone, dim, gem_p)
        if self.cnn:
            add_wave_blocks(with_learned_pooling(network))
        if self.drop_path:
            add_drop_path(network, self.drop_path)
        return ClassifiedNetwork(network, self.classes, batch_norms=self.cnn)

    def deployed(self, network: nn.Module) -> nn.Module:
        """Without classifiers, in one piece."""
        return network.merged() if isinstance(network, ClassifiedNetwork) else network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> MarginClassification:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        if not self.compatibility and teacher is not None:
            raise ValueError("this stage has no teacher; leave --teacher out, or choose vit4icd_stage2a.")
        return MarginClassification(self, required(teacher) if self.compatibility else None)


class MarginClassification(Objective):
    """See the module.

    Args:
        config: the weights.
        teacher: gives the descriptors to stay compatible with; ``None`` where none are.
    """

    def __init__(self, config: MarginConfig, teacher: Teacher | None) -> None:
        super().__init__()
        self.config, self._teacher = config, teacher
        self.wants_support, self.wants_pairs = bool(config.compatibility), bool(config.pairs)

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        network, config = student.network, self.config
        assert isinstance(network, ClassifiedNetwork)  # built by our settings
        features, descriptors = student.call(network.heads, student.inputs(batch.pixels))
        labels = batch.views.image.to(features.device)
        if int(labels.max()) >= config.classes:
            raise ValueError(
                f"the images show identity {int(labels.max())}, but there are {config.classes} classes; "
                f"pass --classes {int(labels.max()) + 1} or more."
            )
        by_feature = margin_cross_entropy(
            features, network.feature_classes, labels, config.scale, config.feature_margin
        )
        by_descriptor = margin_cross_entropy(
            descriptors, network.descriptor_classes, labels, config.scale, config.descriptor_margin
        )
        log = {"classes_of_features": by_feature.item(), "classes_of_descriptors": by_descriptor.item()}
        total = by_feature + by_descriptor
        for weight, term in ((config.compatibility, self._compatibility), (config.pairs, self._pairs)):
            if weight:
                value, name = term(student, batch.side)
                total, log[name] = total + weight * value, value.item()
        return total, log

    def _compatibility(self, student: Student, side: SideImages) -> tuple[torch.Tensor, str]:
        assert side.support is not None  # the run asks for it
        assert self._teacher is not None
        with torch.no_grad():
            wanted = F.normalize(self._teacher(student.seen(side.support)).float(), dim=1)
        found = student.describe(student.inputs(side.support))
        if wanted.shape != found.shape:
            raise ValueError(
                f"the first stage gives {wanted.shape[1]} values per image and this one {found.shape[1]}; "
                f"pass --dim {wanted.shape[1]}."
            )
        return squared_distance(found, wanted), "compatibility"

    def _pairs(self, student: Student, side: SideImages) -> tuple[torch.Tensor, str]:
        assert side.pairs is not None  # the run asks for it
        assert side.pair_numbers is not None
        rows = student.describe(student.inputs(side.pairs))
        first, second, numbers = rows[::2], rows[1::2], side.pair_numbers[::2].to(rows.device)
        pushed = nearest_negative_distance(first, numbers) + nearest_negative_distance(second, numbers)
        return squared_distance(first, second) - pushed / 2, "pairs"
