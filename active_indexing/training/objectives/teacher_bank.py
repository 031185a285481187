"""Distillation from a bank: a frozen teacher's features of all training originals, made once.

Every view of an image is to find its original's row among the rows of other images, whatever the edit; so a
student can become more robust than its teacher, which sees no edited view and costs nothing per step. Beside
it, SSCD's contrast of the student's own descriptors keeps references and copies together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.objectives.contrastive import LossConfig, pairs_of_copies
from active_indexing.training.objectives.interface import Objective, Scalars, StepViews, Student, Teacher
from active_indexing.training.objectives.sscd import SSCD, SSCDConfig, all_views


def bank_cross_entropy(
    descriptors: torch.Tensor,
    own: torch.Tensor,
    others: torch.Tensor,
    foreign: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Cross entropy of finding an image's own row among the rows of other images.

    L = -mean_i log( e^(z_i o_i / tau) / (e^(z_i o_i / tau) + sum over foreign k of e^(z_i b_k / tau)) ).

    Args:
        descriptors: z, (N, D) unit norm, with gradients.
        own: o, (N, D) unit norm, the bank's row of each view's image.
        others: b, (K, D) unit norm, rows of the bank.
        foreign: (N, K) bool, which of them show another image.
        temperature: tau.
    """
    wanted = (descriptors * own).sum(dim=1) / temperature
    scores = (descriptors @ others.T / temperature).masked_fill(~foreign, -torch.inf)
    everything = torch.logaddexp(wanted, scores.logsumexp(dim=1))
    return (everything - wanted).mean()


@dataclass(frozen=True, kw_only=True)
class TeacherBankConfig:
    """Settings of the distillation from a bank.

    Attributes:
        loss: of the student's own contrast.
        temperature: of the bank's cross entropy.
        weight: of the bank's cross entropy.
        rows: of the bank that a step compares with, one run of it that starts at random.
    """

    wants_rows: ClassVar[bool] = True

    loss: LossConfig = field(default_factory=lambda: LossConfig(entropy_weight=1.0, asymmetric=True))
    temperature: float = 0.05
    weight: float = 1.0
    rows: int = 12_288

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the temperature of the bank must be above 0, got {self.temperature}.")
        if self.rows < 1:
            raise ValueError(f"a step must compare with at least 1 row of the bank, got {self.rows}.")

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """One network with one head."""
        return build_network(backbone, dim, gem_p)

    def deployed(self, network: nn.Module) -> nn.Module:
        """All of it."""
        return network

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> TeacherBank:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        return TeacherBank(self)


class TeacherBank(Objective):
    """See the module; :meth:`fill` must be called before the first loss."""

    def __init__(self, config: TeacherBankConfig) -> None:
        super().__init__()
        self.config = config
        self._contrast = SSCD(SSCDConfig(loss=config.loss))
        self._rows = torch.empty(0, 0)

    def fill(self, rows: torch.Tensor) -> None:
        """Give the bank.

        Args:
            rows: (images of all sources, D) unit norm, in the order of the images' numbers.
        """
        self._rows = rows

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        images = batch.views.image
        if int(images.max()) >= len(self._rows):
            raise ValueError(
                f"the bank has rows of {len(self._rows)} images, none of image {int(images.max())}; "
                "make it from all sources of this training, with --teacher."
            )
        descriptors = student.describe(student.inputs(batch.pixels))
        first, count = self._slice(batch.generator)
        foreign = images[:, None] != torch.arange(first, first + count)[None]
        device = descriptors.device
        bank = bank_cross_entropy(
            descriptors,
            self._rows[images].to(device),
            self._rows[first : first + count].to(device),
            foreign.to(device),
            self.config.temperature,
        )
        asymmetric = self.config.loss.asymmetric
        pairs = pairs_of_copies(batch.views, all_views(batch), asymmetric=asymmetric)
        pairs = type(pairs)(*(mask.to(device) for mask in pairs))
        contrast, log = self._contrast.contrast(descriptors, pairs, batch.step)
        return contrast + self.config.weight * bank, log | {"bank": bank.item()}

    def _slice(self, generator: torch.Generator) -> tuple[int, int]:
        """Where a step's run of rows starts, and how long it is."""
        count = min(self.config.rows, len(self._rows))
        return int(torch.randint(len(self._rows) - count + 1, (1,), generator=generator)), count
