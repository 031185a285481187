"""The network of ViT4ICD: DeiT-base, its class token, and a linear layer.

[ViT4ICD] Tan, Wang and Shan, "Vision Transformers are Active Learners for Image Copy Detection", 2024.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from active_indexing.extras import third_party

VIT4ICD_DIM = 512


class ViT4ICDNetwork(nn.Module):
    """(B, 3, 224, 224), normalised grey images, to (B, 512)."""

    base: Any

    def __init__(self, trunk: str = "deit_base_patch16_224") -> None:
        """Args: trunk: a vision transformer of timm; the published weights are of DeiT-base."""
        super().__init__()
        timm = third_party("timm", "models")
        self.base = timm.create_model(trunk, num_classes=0, dynamic_img_size=True)
        self.linear = nn.Linear(self.base.num_features, VIT4ICD_DIM)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The linear layer on the class token; during training [ViT4ICD] has classifiers behind it."""
        descriptors: torch.Tensor = self.linear(self.base(inputs))
        return descriptors
