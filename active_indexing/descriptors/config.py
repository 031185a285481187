"""Which descriptor, from which weights, at which input size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import between, one_of, setting

RESIZES = ("square", "short_edge", "long_edge")

MOST_INPUT_EDGE = 4096
"""Pixels; three times the largest input that any network of timm was trained for (1,280)."""


@dataclass(frozen=True, kw_only=True)
class DescriptorConfig:
    """Which descriptor, from which weights, at which input size.

    Every field is a flag of the same name; its ``help`` says what it means.
    """

    model_name: str | None = setting(
        None,
        "torchscript, a published descriptor such as sscd_disc_mixup (downloaded once; also with a "
        "layout and a preprocessing, sscd_disc_mixup.classy@shortedge288), or a torchvision or timm "
        "architecture (default: the default descriptor, or torchscript with --model_path)",
    )
    model_path: Path | None = setting(None, "weights or TorchScript file (default: those of the model)")
    resize_size: int | None = setting(None, "input size of the descriptor in pixels (default: its own)")
    resize: str | None = setting(
        None,
        "what that size is: the edge of a square, or the short or the long edge of an input that keeps the "
        "image's aspect ratio (default: the descriptor's own, mostly square)",
        choices=RESIZES,
    )

    def __post_init__(self) -> None:
        if self.resize_size is not None:
            between("resize_size", self.resize_size, 1, MOST_INPUT_EDGE)
        if self.resize is not None:
            one_of("resize", self.resize, RESIZES)
