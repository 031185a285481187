"""RDCD: a student with two heads, one that compares images as its teacher does and a small one to deploy.

[RDCD] WACV 2025, "Relational Distillation for Copy Detection": relational distillation of the head h with a
queue of teacher features alone, momentum contrast of the head z, repulsion from z's hardest negative. The
published repository lacks the queue of the first term; here it follows [CompRess] Koohpayegani et al.,
NeurIPS 2020, eq. (3), with one queue. Each image's view 1 goes to teacher and student, view 2 to the
student's slow copy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.distillation import required
from active_indexing.training.objectives.interface import Objective, Scalars, StepViews, Student, Teacher
from active_indexing.training.objectives.last_layer import last_layer, with_last
from active_indexing.training.objectives.momentum import follow, hard_negative_term, momentum_contrast
from active_indexing.training.objectives.queues import PUBLISHED_ROWS, FeatureQueue


def relational_distillation(
    student: torch.Tensor, teacher: torch.Tensor, queue: torch.Tensor, temperature: float
) -> torch.Tensor:
    """KL divergence between how teacher and student compare each view with the queue, [CompRess] eq. (3).

    L = mean_i sum_k p_ik log(p_ik / q_ik), with p = softmax(t Q' / T) and q = softmax(h Q' / T).

    Args:
        student: (N, D) unit norm, with gradients.
        teacher: (N, D) unit norm, of the same views.
        queue: (K, D) unit norm, the teacher's features of other images.
        temperature: T, of both.
    """
    targets = (teacher @ queue.T / temperature).log_softmax(dim=1)
    scores = (student @ queue.T / temperature).log_softmax(dim=1)
    return F.kl_div(scores, targets, reduction="batchmean", log_target=True)


class TwoHeads(nn.Module):
    """A network to h, and a linear layer from h to z.

    Args:
        network: from (B, 3, S, S) to raw (B, H).
        width: H.
        dim: of z.
    """

    def __init__(self, network: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.network = network
        self.projector = nn.Linear(width, dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) to raw z, (B, dim): what is deployed."""
        return self.heads(inputs)[1]

    def heads(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, S, S) to raw h, (B, H), and raw z, (B, dim)."""
        features: torch.Tensor = self.network(inputs)
        return features, self.projector(features)


def merged(network: TwoHeads) -> nn.Module:
    """One network whose last layer gives z: two linear layers in a row are one, W = P W_h, b = P b_h + b_P.

    Args:
        network: its inner network ends in a linear layer under ``fc`` or as ``classifier``.

    Returns:
        A copy; the argument stays.

    Raises:
        ValueError: if the inner network ends in anything else.
    """
    _, last = last_layer(network.network)
    projector = network.projector
    layer = nn.Linear(last.in_features, projector.out_features)
    with torch.no_grad():
        weight = projector.weight.double()
        layer.weight.copy_(weight @ last.weight.double())
        layer.bias.copy_(weight @ last.bias.double() + projector.bias.double())
    return with_last(network.network, layer)


@dataclass(frozen=True, kw_only=True)
class RDCDConfig:
    """Settings of [RDCD]; the defaults are the published script's.

    Attributes:
        teacher_dim: length of h, the teacher's.
        relation_temperature: of the relational term.
        temperature: of the contrast.
        momentum: of the slow copy.
        contrast_weight: of contrast and hard negatives together.
        relation_weight: of the relational term.
        hard_negative_weight: of the hard negatives within the contrast.
        queue_rows: of each of the two queues.
    """

    wants_rows: ClassVar[bool] = False

    teacher_dim: int = 512
    relation_temperature: float = 0.04
    temperature: float = 0.07
    momentum: float = 0.99
    contrast_weight: float = 1.0
    relation_weight: float = 1.0
    hard_negative_weight: float = 5.0
    queue_rows: int = PUBLISHED_ROWS

    def __post_init__(self) -> None:
        if not (self.relation_temperature > 0 and self.temperature > 0):
            raise ValueError(
                f"temperatures must be above 0, got {self.relation_temperature} and {self.temperature}."
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"the momentum of the slow copy must be in [0, 1), got {self.momentum}.")

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """Both heads on one network."""
        return TwoHeads(build_network(backbone, self.teacher_dim, gem_p), self.teacher_dim, dim)

    def deployed(self, network: nn.Module) -> nn.Module:
        """The network to z, in one piece."""
        return merged(network) if isinstance(network, TwoHeads) else network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> RDCD:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        return RDCD(self, network, dim, required(teacher))


class RDCD(Objective):
    """Relational distillation, momentum contrast and hard negatives, with a queue each for h and for z.

    Args:
        config: the weights.
        network: the student at step 0; its copy becomes the slow one.
        dim: of z.
        teacher: frozen; its features are normalised here.
    """

    def __init__(self, config: RDCDConfig, network: nn.Module, dim: int, teacher: Teacher) -> None:
        super().__init__()
        self.config, self._teacher = config, teacher
        self.slow = copy.deepcopy(network).requires_grad_(False)
        self.teacher_queue = FeatureQueue(config.queue_rows, config.teacher_dim, seed=0)
        self.key_queue = FeatureQueue(config.queue_rows, dim, seed=1)
        # Not pushed before the gradient is computed, which needs the queues as they were.
        self._new_rows = torch.empty(0, config.teacher_dim), torch.empty(0, dim)

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        first, second = two_views(batch)
        inputs = student.inputs(batch.pixels)
        network = student.network
        assert isinstance(network, TwoHeads)  # built by our settings
        features, queries = student.call(network.heads, inputs[first])
        keys = self._keys(student, inputs[second])
        with torch.no_grad():
            taught = F.normalize(self._teacher(batch.pixels[first]).float(), dim=1)
        if taught.shape[1] != features.shape[1]:
            raise ValueError(
                f"the teacher gives {taught.shape[1]} values per image, but teacher_dim is "
                f"{features.shape[1]}; pass --teacher_dim {taught.shape[1]}."
            )
        config = self.config
        relation = relational_distillation(
            features, taught, self.teacher_queue.features, config.relation_temperature
        )
        contrast = momentum_contrast(queries, keys, self.key_queue.features, config.temperature)
        repulsion = hard_negative_term(queries, self.key_queue.features)
        self._new_rows = collectives.gather(taught), collectives.gather(keys)
        total = config.contrast_weight * (contrast + config.hard_negative_weight * repulsion)
        log = {"contrast": contrast.item(), "hard_negative": repulsion.item(), "relation": relation.item()}
        return total + config.relation_weight * relation, log

    def updated(self, network: nn.Module) -> None:
        """The slow copy follows the student, and the queues take the step's rows."""
        follow(self.slow, network, self.config.momentum)
        taught, keys = self._new_rows
        self.teacher_queue.push(taught)
        self.key_queue.push(keys)

    @torch.no_grad()
    def _keys(self, student: Student, inputs: torch.Tensor) -> torch.Tensor:
        """Unit z of the slow copy, whose batch norms see shuffled views ([MoCo] section 3.3)."""
        self.slow.train()
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(len(inputs)))
        shuffled = student.with_network(self.slow).describe(inputs[order.to(inputs.device)])
        return shuffled[order.argsort().to(inputs.device)]


def two_views(batch: StepViews) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the first and of the second view of every image, in one order of images.

    Raises:
        ValueError: if an image has only one view.
    """
    order = torch.argsort(batch.views.image, stable=True)
    images, counts = batch.views.image[order].unique_consecutive(return_counts=True)
    if int(counts.min()) < 2:
        raise ValueError(f"image {int(images[counts.argmin()])} has one view; RDCD compares two of each.")
    starts = counts.cumsum(0) - counts
    return order[starts], order[starts + 1]
