"""DINO's vision transformers, whose position embedding follows the input size as in DINO's own program.

[DINO] Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

# Added to the number of patches a side before it is divided by the trained number, as [DINO] does against
# rounding. The quotient scales the coordinates, so the patches lie a little off those of an exact resize.
SCALE_OFFSET = 0.1


class DINOTransformer(VisionTransformer):
    """(B, 3, h, w), multiples of the patch, to the class token (B, width).

    Parameters have timm's names, which are those of the published files. timm resamples the position
    embedding with antialiasing and to the exact size; values then differ from [DINO]'s by up to 2.2e-3.
    """

    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        assert self.cls_token is not None
        assert self.pos_embed is not None
        batch, rows, columns, width = x.shape
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), x.reshape(batch, -1, width)], dim=1)
        return tokens + position_embedding(self.pos_embed, rows, columns)


def position_embedding(trained: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A position embedding for another number of patches, by [DINO]'s rule: bicubic, no antialiasing.

    Args:
        trained: (1, 1 + n * n, width): class token, then n x n patches row by row.
        rows: patches from top to bottom.
        columns: patches from left to right.

    Returns:
        (1, 1 + rows * columns, width); ``trained`` itself when that is its shape.
    """
    side = round((trained.shape[1] - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return trained
    grid = trained[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = ((rows + SCALE_OFFSET) / side, (columns + SCALE_OFFSET) / side)
    resampled = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    return torch.cat([trained[:, :1], resampled.flatten(2).transpose(1, 2)], dim=1)


def build_dino(patch: int, width: int, heads: int) -> DINOTransformer:
    """A transformer of 12 blocks with random weights, for squares of 224 pixels when trained.

    Args:
        patch: pixels a side.
        width: of the tokens; 384 in ViT-S.
        heads: of the attention; 6 in ViT-S.
    """
    return DINOTransformer(
        patch_size=patch, embed_dim=width, depth=12, num_heads=heads, num_classes=0, dynamic_img_size=True
    )
