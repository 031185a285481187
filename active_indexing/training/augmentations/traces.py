"""Where in the stored image every pixel of a view comes from, traced through the edits.

[PixTrace] Lu et al., "Tracing Copied Pixels and Regularizing Patch Affinity in Copy Detection", ICCV 2025,
section 3. A trace starts as the coordinates of the stored image and goes through every edit that moves or
covers pixels; colours, blur and codecs leave it as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# An overlay shows more of itself than of what is below it from here on.
COVERED = 0.5


class PixelTrace:
    """Source coordinates and visibility of a batch of images in the making.

    Args:
        coordinates: (B, 2, H, W) x to the right and y down, both from -1 to 1 over the stored image.
        visible: (B, H, W) bool, whether a pixel shows the stored image at all.
    """

    def __init__(self, coordinates: torch.Tensor, visible: torch.Tensor) -> None:
        self.coordinates, self.visible = coordinates, visible

    @classmethod
    def of(cls, images: torch.Tensor) -> PixelTrace:
        """The trace of images that were not edited yet, (B, C, H, W): every pixel shows itself."""
        count, height, width = len(images), images.shape[-2], images.shape[-1]
        y, x = (
            (torch.arange(length, device=images.device) + 0.5) / length * 2 - 1 for length in (height, width)
        )
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
        visible = torch.ones(count, height, width, dtype=torch.bool, device=images.device)
        return cls(grid.expand(count, -1, -1, -1), visible)

    def move(
        self,
        grid: torch.Tensor,
        *,
        chosen: torch.Tensor | None = None,
        black_outside: bool = False,
    ) -> None:
        """Follow a geometric edit.

        Args:
            grid: (B, S, S, 2), where in the images so far each new pixel was sampled, as for ``grid_sample``.
            chosen: (B,) bool, which images were edited, when they keep their size; ``None`` is all.
            black_outside: nothing of the image is shown where the grid leaves it; else its border is.
        """
        moved = F.grid_sample(self.coordinates, grid, padding_mode="border", align_corners=False)
        outside = "zeros" if black_outside else "border"
        seen = self.visible[:, None].float()
        seen = F.grid_sample(seen, grid, mode="nearest", padding_mode=outside, align_corners=False)
        visible = seen[:, 0] > COVERED
        if chosen is not None:
            moved = torch.where(chosen[:, None, None, None], moved, self.coordinates)
            visible = torch.where(chosen[:, None, None], visible, self.visible)
        self.coordinates, self.visible = moved, visible

    def hide(self, rows: torch.Tensor, covered: torch.Tensor) -> None:
        """Follow an overlay.

        Args:
            rows: (n,) int64, the images that got one.
            covered: (n, H, W) bool, or values in [0, 1] of how opaque it is.
        """
        self.visible[rows] &= ~(covered > COVERED)

    def shuffle(self, rows: torch.Tensor, moved: torch.Tensor, order: torch.Tensor) -> None:
        """Follow pixels that change places.

        Args:
            rows: (n,) int64, the images in which they do.
            moved: (n, H * W) bool, which pixels are replaced.
            order: (H * W,) int64, the pixel that replaces each.
        """
        coordinates, visible = self.coordinates[rows].flatten(2), self.visible[rows].flatten(1)
        shape = self.coordinates.shape[-2:]
        coordinates = torch.where(moved[:, None], coordinates[:, :, order], coordinates)
        visible = torch.where(moved, visible[:, order], visible)
        self.coordinates = self.coordinates.clone()
        self.coordinates[rows] = coordinates.unflatten(2, shape)
        self.visible[rows] = visible.unflatten(1, shape)

    def result(self) -> torch.Tensor:
        """(B, 2, H, W) float32 coordinates, NaN where the stored image is not seen."""
        return self.coordinates.masked_fill(~self.visible[:, None], torch.nan)
