"""Contrast of patches that show the same pixels, beside any objective of whole views.

[CopyNCE] Lu et al., "Tracing Copied Pixels and Regularizing Patch Affinity in Copy Detection", ICCV 2025
(arXiv 2602.17484), and its published settings. The coordinates of all pixels are traced through the edits,
so that it is known which patch of a copy shows how much of which patch of its original.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from active_indexing.training.objectives.contrastive import Views
from active_indexing.training.objectives.feature_maps import caught_maps, patch_tokens
from active_indexing.training.objectives.interface import (
    Objective,
    ObjectiveSettings,
    Scalars,
    StepViews,
    Student,
    Teacher,
)


def source_counts(coordinates: torch.Tensor, height: int, width: int, cells: int) -> torch.Tensor:
    """How many pixels of each patch show each cell of the stored image.

    Args:
        coordinates: (B, 2, S, S) x and y in [-1, 1] over the stored image, NaN where it is not seen.
        height: of the grid of patches.
        width: of the grid of patches.
        cells: along each axis of the stored image.

    Returns:
        (B, height * width, cells * cells) float32.
    """
    count, size = len(coordinates), coordinates.shape[-1]
    device = coordinates.device
    seen = coordinates.isfinite().all(dim=1)
    cell = ((coordinates.nan_to_num() + 1) / 2 * cells).floor().long().clamp(0, cells - 1)
    place = torch.arange(size, device=device)
    row, column = place * height // size, place * width // size
    patch = row[:, None] * width + column[None]
    index = patch * cells * cells + cell[:, 1] * cells + cell[:, 0]
    counts = torch.zeros(count, height * width * cells * cells, device=device)
    counts.scatter_add_(1, index.flatten(1), seen.flatten(1).float())
    return counts.view(count, height * width, cells * cells)


def overlap_weights(first: torch.Tensor, second: torch.Tensor, pixels: int, gamma: float) -> torch.Tensor:
    """Weights of the patches of another view for each patch of a view, [CopyNCE].

    The overlap o_ab is the share of a's pixels whose piece of the stored image patch b shows; a cell that
    several patches show is shared out by their pixels in it. With o_a0 = 1 - sum_b o_ab, what no patch shows,
    w_ab = o_ab^gamma / (o_a0^gamma + sum_c o_ac^gamma).

    Args:
        first: (B, P, K) counts of the view of a.
        second: (B, P, K) counts of the view of b.
        pixels: of a patch.
        gamma: sharpens; 1 leaves the overlaps.

    Returns:
        (B, P, P); a row sums to at most 1.
    """
    share = second / second.sum(dim=1, keepdim=True).clamp(min=1)
    overlap = first @ share.transpose(1, 2) / pixels
    nothing = (1 - overlap.sum(dim=2, keepdim=True)).clamp(min=0)
    powers = overlap.pow(gamma)
    return powers / (powers.sum(dim=2, keepdim=True) + nothing.pow(gamma)).clamp(min=1e-12)


def copy_nce(
    queries: torch.Tensor, references: torch.Tensor, weights: torch.Tensor, scale: float
) -> torch.Tensor:
    """Cross entropy of finding, for each patch, those of the other view that show the same.

    L = -mean over pairs and patches a of sum_b w_ab log( e^(s cos_ab) / sum_c e^(s cos_ac) ).

    Args:
        queries: (B, P, C) unit norm, with gradients.
        references: (B, P, C) unit norm, with gradients.
        weights: (B, P, P).
        scale: s.
    """
    affinities = (scale * queries @ references.transpose(1, 2)).log_softmax(dim=2)
    return -(weights * affinities).sum(dim=2).mean()


@dataclass(frozen=True, kw_only=True)
class PatchContrastConfig:
    """An objective with [CopyNCE] beside it; the defaults are the published ones.

    Attributes:
        base: the objective of whole views.
        weight: of the patch contrast.
        scale: of the cosines.
        gamma: of the overlaps.
        from_copies: share of the direction from edited to reference view; the rest is the other direction.
        layer: whose output the patches are, see :func:`caught_maps`; published is the last block but one
            of a ViT-S/16, ``trunk.blocks.10``.
        cells: of the stored image along each axis; overlaps are measured in them.
    """

    base: ObjectiveSettings
    weight: float = 5.0
    scale: float = 16.0
    gamma: float = 3.0
    from_copies: float = 0.5
    layer: str = ""
    cells: int = 24

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.gamma > 0):
            raise ValueError(f"scale and gamma must be above 0, got {self.scale} and {self.gamma}.")
        if not 0 <= self.from_copies <= 1:
            raise ValueError(f"from_copies is a share in [0, 1], got {self.from_copies}.")
        if self.cells < 1:
            raise ValueError(f"overlaps need at least 1 cell, got {self.cells}.")
        if getattr(self.base, "mixing", None) is not None:
            raise ValueError("a mixed view shows two images; leave the mixing out or the patch contrast.")

    @property
    def wants_rows(self) -> bool:
        """As the objective of whole views."""
        return self.base.wants_rows

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """That of the objective of whole views."""
        return self.base.build_network(backbone, dim, gem_p)

    def deployed(self, network: nn.Module) -> nn.Module:
        """That of the objective of whole views."""
        return self.base.deployed(network)

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> PatchContrast:
        """See :class:`~active_indexing.training.objectives.interface.ObjectiveSettings`."""
        return PatchContrast(self, self.base.build(network, dim, teacher))


class PatchContrast(Objective):
    """See the module. One pass of the network serves both terms."""

    traces = True

    def __init__(self, config: PatchContrastConfig, base: Objective) -> None:
        super().__init__()
        self.config, self.base = config, base

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """See :class:`~active_indexing.training.objectives.interface.Objective`."""
        with caught_maps(student.network, self.config.layer) as maps:
            loss, log = self.base.loss(student, batch)
        if len(maps) != 1 or len(maps[0]) != len(batch.pixels):
            raise ValueError(
                f"{type(self.base).__name__} takes the views through {self.config.layer or 'the pooling'} in "
                f"{len(maps)} passes; a patch contrast needs all {len(batch.pixels)} in one."
            )
        patches = self.contrast(maps[0], batch)
        return loss + self.config.weight * patches, log | {"CopyNCE": patches.item()}

    def contrast(self, maps: torch.Tensor, batch: StepViews) -> torch.Tensor:
        """The patch contrast of every edited view with the reference view of its image.

        Args:
            maps: of all views, see :func:`patch_tokens`.
            batch: with traced coordinates.
        """
        assert batch.coordinates is not None  # the trainer traces for objectives that ask
        config = self.config
        tokens, height, width = patch_tokens(maps)
        copies, originals = (rows.to(tokens.device) for rows in pairs_of_views(batch.views))
        counts = source_counts(batch.coordinates, height, width, config.cells)
        pixels = batch.coordinates.shape[-1] ** 2 // (height * width)
        share = config.from_copies
        total = tokens.new_zeros(())
        for first, second, part in ((copies, originals, share), (originals, copies, 1 - share)):
            weights = overlap_weights(counts[first], counts[second], pixels, config.gamma)
            total = total + part * copy_nce(tokens[first], tokens[second], weights, config.scale)
        return total

    def fill(self, rows: torch.Tensor) -> None:
        """Rows are the other objective's."""
        self.base.fill(rows)

    def updated(self, network: nn.Module) -> None:
        """The other objective follows."""
        self.base.updated(network)


def pairs_of_views(views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of all edited views, and of the reference view of each one's image.

    Raises:
        ValueError: if an image has no reference view in this process, or several.
    """
    copies = (~views.reference).nonzero()[:, 0]
    originals = views.reference.nonzero()[:, 0]
    same = views.image[copies][:, None] == views.image[originals][None]
    if not bool((same.sum(dim=1) == 1).all()):
        raise ValueError("a patch contrast needs one reference view of every image.")
    return copies, originals[same.float().argmax(dim=1)]
