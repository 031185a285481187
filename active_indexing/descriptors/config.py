"""Which descriptor, from which weights, at which input size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import at_least


@dataclass(frozen=True, kw_only=True)
class DescriptorConfig:
    """Which descriptor, from which weights, at which input size.

    Attributes:
        model_name: ``None`` (the embedded default descriptor, or TorchScript when ``model_path`` is
            given), ``torchscript``, a published descriptor (``sscd_disc_mixup``, also with a layout and a
            preprocessing, ``sscd_disc_mixup.classy@shortedge288``), or the name of a torchvision or timm
            architecture.
        model_path: weights or TorchScript file.
        resize_size: square input size in pixels; ``None`` is the descriptor's own.
    """

    model_name: str | None = None
    model_path: Path | None = None
    resize_size: int | None = None

    def __post_init__(self) -> None:
        if self.resize_size is not None:
            at_least("resize_size", self.resize_size, 1)
