"""The trunk of the default descriptor: the smallest ResNet, one basic block per stage.

Keys, start and outputs are those of torchvision's ``ResNet(BasicBlock, [1, 1, 1, 1])``, to the bit. It stands
here because importing torchvision takes as long as importing torch itself (1.7 s against 1.5 s of CPU time),
and a release with the default descriptor needs nothing else of it.

[He] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

import torch
from torch import nn

WIDTHS = (64, 128, 256, 512)  # channels of the stages, [He] table 1
CLASSES = 1000


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, [He] figure 5, left."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        """Args: channels: that come in; width: that go out; stride: of the first convolution."""
        super().__init__()
        shortcut = None
        if stride != 1 or channels != width:  # made first, as in torchvision: it draws first
            shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, width, H / stride, W / stride)."""
        changed: torch.Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        changed += maps if self.downsample is None else self.downsample(maps)
        output: torch.Tensor = self.relu(changed)
        return output


class ResNet10(nn.Module):
    """(B, 3, H, W) to (B, 1000), until ``avgpool`` and ``fc`` are replaced."""

    avgpool: nn.Module
    fc: nn.Linear

    def __init__(self, *, zero_init_residual: bool = False) -> None:
        """Args: zero_init_residual: residual branches start at zero."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            block = BasicBlock(channels, width, stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", nn.Sequential(block))
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Stem, stages, pooling, linear layer."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(inputs))))
        for stage in range(1, len(WIDTHS) + 1):
            maps = getattr(self, f"layer{stage}")(maps)
        output: torch.Tensor = self.fc(self.avgpool(maps).flatten(1))
        return output
