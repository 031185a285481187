"""The network of the first place of ISC21's descriptor track."""

from __future__ import annotations

import torch
from torch import nn

from active_indexing.extras import third_party

ISC_TRUNK = "tf_efficientnetv2_m.in21k_ft_in1k"


ISC_CHANNELS = 512  # of the trunk's last map


class ISCNetwork(nn.Module):
    """[ISC]'s descriptor: EfficientNetV2-M, mean pooling, linear layer without bias, batch norm."""

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.backbone = third_party("timm", "models").create_model(ISC_TRUNK, features_only=True)
        self.fc = nn.Linear(ISC_CHANNELS, dim, bias=False)
        self.bn = nn.BatchNorm1d(dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) to (B, 256).

        The published pooling is GeM with p = 1, which raises values to at least 1e-6 first.
        """
        maps = self.backbone(inputs)[-1]
        return self.bn(self.fc(maps.clamp(min=1e-6).mean(dim=(2, 3))))
