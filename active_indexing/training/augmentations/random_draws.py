"""Random numbers for a batch of views from one CPU generator, with the trace that the edits keep up."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from active_indexing.training.augmentations.traces import PixelTrace


class Draws:
    """Draws of one value per view: made on the CPU, so that they are the same for every device.

    What is drawn for some views is done to some rows of the whole batch; so the trace of the batch goes with
    the draws.

    Args:
        generator: a CPU generator, which advances.
        count: number of views, the length of every draw.
        device: where the values are needed.
        trace: of the whole batch; ``None`` traces nothing.
        rows: (count,) int64, which views of the batch these are; ``None`` are all.
    """

    def __init__(
        self,
        generator: torch.Generator,
        count: int,
        device: torch.device | None = None,
        *,
        trace: PixelTrace | None = None,
        rows: torch.Tensor | None = None,
    ) -> None:
        self.generator = generator
        self.count = count
        self.device = device or torch.device("cpu")
        self.trace = trace
        self.rows = torch.arange(count, device=self.device) if rows is None else rows

    def uniform(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(count,) uniform in [low, high)."""
        return self.fraction(self.count) * (high - low) + low

    def log_uniform(self, low: float, high: float) -> torch.Tensor:
        """(count,) whose logarithm is uniform between those of ``low`` and ``high``."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def chance(self, probability: float) -> torch.Tensor:
        """(count,) bool, true with this probability."""
        return self.fraction(self.count) < probability

    def integers(self, high: int) -> torch.Tensor:
        """(count,) int64 in [0, high)."""
        return torch.randint(high, (self.count,), generator=self.generator).to(self.device)

    def sign(self, minus: float = 0.5) -> torch.Tensor:
        """(count,) of 1 and, with probability ``minus``, -1."""
        return torch.where(self.chance(minus), -1.0, 1.0)

    def colours(self) -> torch.Tensor:
        """(count, 3) uniform RGB in [0, 1)."""
        return self.fraction(self.count, 3)

    def fraction(self, *shape: int) -> torch.Tensor:
        """Of any shape, uniform in [0, 1)."""
        return torch.rand(shape, generator=self.generator).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Of any shape, standard normal."""
        return torch.randn(shape, generator=self.generator).to(self.device)

    def order(self, length: int) -> torch.Tensor:
        """A random permutation."""
        return torch.randperm(length, generator=self.generator).to(self.device)

    def among(self, rows: torch.Tensor) -> Draws:
        """The same stream for a part of the views."""
        return Draws(self.generator, len(rows), self.device, trace=self.trace, rows=self.rows[rows])

    def untraced(self) -> Draws:
        """The same stream, for what is drawn around a picture and not over it."""
        return Draws(self.generator, self.count, self.device)

    def moved(
        self,
        maps: torch.Tensor,
        size: int,
        *,
        chosen: torch.Tensor | None = None,
        black_outside: bool = False,
    ) -> None:
        """Tell the trace of an affine edit of the whole batch, to (size, size) views.

        Args:
            maps: (B, 2, 3) from view coordinates to those of the images so far.
            size: of the views, pixels.
            chosen: see :meth:`PixelTrace.move`.
            black_outside: see :meth:`PixelTrace.move`.
        """
        if self.trace is not None:
            grid = F.affine_grid(maps, [len(maps), 1, size, size], align_corners=False)
            self.trace.move(grid, chosen=chosen, black_outside=black_outside)

    def moved_freely(
        self, grid: torch.Tensor, *, chosen: torch.Tensor | None = None, black_outside: bool = False
    ) -> None:
        """Tell the trace of any geometric edit of the whole batch, see :meth:`PixelTrace.move`."""
        if self.trace is not None:
            self.trace.move(grid, chosen=chosen, black_outside=black_outside)

    def covered(self, opacity: torch.Tensor) -> None:
        """Tell the trace of an overlay of these views: (count, H, W) bool, or opacity in [0, 1]."""
        if self.trace is not None:
            self.trace.hide(self.rows, opacity)

    def shuffled(self, moved: torch.Tensor, order: torch.Tensor) -> None:
        """Tell the trace of pixels that changed places, see :meth:`PixelTrace.shuffle`."""
        if self.trace is not None:
            self.trace.shuffle(self.rows, moved, order)
