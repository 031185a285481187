"""The robust method: copies of the image, not only the image, are moved into one cell and next to one code.

1. Descriptors of random edits of the image give its centre and the entries of the index that could be
   mistaken for it.
2. A perturbation at the descriptor's input size, so that the cost does not depend on the photo's, is
   optimised by normalised gradient steps with momentum over the image and fresh random edits of it, inside
   an L2 ball (the PSNR) and shaped by what hides changes.
3. The index is to remember the mean descriptor of the edits of the image as it is released.

It differs from the published method in what is stored (the mean over edits, not the original), in the loss
(the cell and the neighbours, besides the cosine), and in the constraint (an exact PSNR, not a penalty).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.batches import in_groups
from active_indexing.activation.interface import (
    ActivationContext,
    ActivationJob,
    ActivationResult,
    Method,
    Step,
    step_logger,
)
from active_indexing.activation.objectives.cells import RobustTarget
from active_indexing.activation.objectives.losses import cell_loss, cossim, neighbour_loss
from active_indexing.activation.perturbation import jnd
from active_indexing.activation.perturbation.scaling import UpsampledPerturbation
from active_indexing.activation.perturbation.steps import NEUTRAL, unit_rms
from active_indexing.activation.transformations import (
    Transformations,
    joined,
    random_transformations,
    transformed,
)
from active_indexing.activation.working_image import (
    WORKING_SCALE,
    enlarged,
    shrunk_opacity,
    working_image,
)
from active_indexing.descriptors.network_input import shrunk
from active_indexing.seeding import torch_generator_for

STEPS = 12  # more gain nothing on photos 200-263
VIEWS = 4  # random edits that a step looks at
ENTRY_VIEWS = 16  # random edits that make the aim, and again the entry
FIRST_STEP = 0.6  # of the budget; the steps shrink linearly to 0
MOMENTUM = 0.9
FLAT_WEIGHT = 0.4  # how strongly flat regions are changed, next to 1 for texture; by eye
LIMIT = 24 / 255  # of the change of any place, times its weight; by eye
UNEDITED = 5  # edits that the unedited image counts as in the entry; a mean over few edits leans on it
NEIGHBOURS = 10  # entries taken as negatives, of each edit that is looked at
NEIGHBOUR_PROBES = 8  # cells visited for them
HARD = 0.25  # share of edits that stay found, below which the manifest warns
PSNR = 42.0  # decibels, when the settings name none
PSNR_OF = {90.0: 50.0, 80.0: 45.0, 70.0: 41.5}
"""Decibels that the method keeps at the SSIMULACRA2 of each strength, in the mean of 24 photos of 000-299."""


def robust(jobs: Sequence[ActivationJob], context: ActivationContext) -> list[ActivationResult]:
    """Move images together; each gets what it would get alone.

    Args:
        jobs: images of any sizes.
        context: descriptor, index and settings.

    Returns:
        One result per image.
    """
    return in_groups(jobs, context, lambda *each: RobustBatch(*each).moved(), WORKING_SCALE)


class RobustBatch:
    """Images whose working images have one shape."""

    working_scale = WORKING_SCALE
    views, entry_views = VIEWS, ENTRY_VIEWS  # unless the settings say otherwise

    def __init__(self, jobs: Sequence[ActivationJob], context: ActivationContext) -> None:
        self._tasks, self._context, self._config = jobs, context, context.config
        config = self._config
        self._views = self.views if config.views is None else config.views
        self._entry_views = self.entry_views if config.entry_views is None else config.entry_views
        working = working_image(context, self.working_scale)
        self._shape = working.output_size(*jobs[0].srgb.shape[:2])
        self._input = context.descriptor.preprocessing.output_size(*self._shape)
        self._generators = [torch_generator_for(context.seed, job.image_id, "edits") for job in jobs]
        device = context.device
        self._work = torch.stack([shrunk(job.srgb, working) for job in jobs]).to(device)
        texture = jnd.texture(self._work)
        self._weight = FLAT_WEIGHT + (1 - FLAT_WEIGHT) * F.interpolate(texture, self._input, mode="area")
        shown = [shrunk_opacity(job, self._shape) for job in jobs]
        self._shown = torch.stack(shown).to(device)
        self._room = jnd.budget_share(texture)
        self._budget = 10 ** (-self._psnr / 20) * self._room
        self._original = torch.from_numpy(np.stack([job.original for job in jobs])).to(device)
        self._cells = context.cells

    @property
    def _passes(self) -> Callable[[Tensor], Tensor]:
        """The descriptor, for the many passes over edits."""
        return self._context.descriptor

    @property
    def _psnr(self) -> float:
        """Decibels inside which the perturbation is made; the released file's strength is its own."""
        quality = self._config.quality
        return PSNR_OF[quality] if quality is not None else self._config.psnr or PSNR

    def moved(self) -> list[ActivationResult]:
        """Find the aim, optimise, and describe what came out."""
        aim = self._aim()
        shift = self._optimised(aim)
        entries, kept = self._entries(shift, aim)
        quality = self._config.quality
        notes = [_notes(*each) for each in zip(self._room.tolist(), kept, strict=True)]
        sizes = [job.srgb.shape[:2] for job in self._tasks]
        fields = (255 * shift).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return [
            ActivationResult(
                UpsampledPerturbation(field, size), entry, -20 * math.log10(budget), notes, quality=quality
            )
            for field, size, entry, budget, notes in zip(
                fields, sizes, entries, self._budget.tolist(), notes, strict=True
            )
        ]

    def _aim(self) -> RobustTarget:
        count = self._entry_views
        edited = self._describe_edits(self._work, count)
        centre = self._mean(self._original, edited)
        looked = torch.cat([self._original[:, None], edited], dim=1)
        dim = looked.shape[2]
        _, found = self._context.index.neighbours(
            looked.reshape(-1, dim).cpu().numpy(), NEIGHBOURS, NEIGHBOUR_PROBES
        )
        others = torch.from_numpy(found).to(centre.device).reshape(len(centre), -1, dim)
        cell = None if self._cells is None else self._cells.nearest(centre)
        return RobustTarget(self._code(centre), cell, _bounded(others))

    def _optimised(self, aim: RobustTarget) -> Tensor:
        """(B, 3, h, w) perturbation at the descriptor's input size, in units of the pixels."""
        steps = self._config.iterations or STEPS
        draws = [self._draw(self._views) for _ in range(steps)]  # before the loop, which never waits
        velocity = torch.zeros(len(self._work), 3, *self._input, device=self._work.device)
        shift = torch.zeros_like(velocity)
        for step, edits in enumerate(draws):
            shift = shift.detach().requires_grad_(True)
            cosine, loss = self._losses(shift, edits, aim)
            (gradient,) = torch.autograd.grad(loss.sum(), shift)
            velocity = MOMENTUM * velocity + unit_rms(gradient * self._weight)
            length = FIRST_STEP * (1 - step / steps) * self._budget
            self._log(step, cosine.detach(), loss.detach(), shift, length)
            direction = self._weight * unit_rms(velocity)
            shift = self._projected(shift.detach() - length[:, None, None, None] * direction)
        return shift

    def _losses(self, shift: Tensor, edits: Transformations, aim: RobustTarget) -> tuple[Tensor, Tensor]:
        """(B,) mean cosine loss and (B,) sum of all losses, over the image and its random edits."""
        moved = self._moved(shift)
        views = [self._network_input(moved)]
        if len(edits):
            views.append(transformed(moved, edits, self._input))
        described = self._passes(torch.cat(views))
        each = 1 + self._views
        # The unedited images come first, then all edits of the first image, then of the next.
        images_first = torch.arange(len(self._tasks), device=shift.device)
        owner = torch.cat([images_first, images_first.repeat_interleave(each - 1)])
        cosine = cossim(described, aim.code[owner])
        total = cosine + neighbour_loss(described, aim.code[owner], aim.neighbours[owner])
        if self._cells is not None and aim.cell is not None:
            total = total + cell_loss(described, self._cells, aim.cell[owner])
        sums = torch.zeros(2, len(self._tasks), device=shift.device)
        sums = sums.index_add(1, owner, torch.stack([cosine, total]))
        return sums[0] / each, sums[1] / each

    def _moved(self, shift: Tensor) -> Tensor:
        """Working images with the perturbation, as the released image will show them."""
        return (self._work + self._shown * enlarged(shift, self._shape)).clamp(0, 1)

    def _projected(self, shift: Tensor) -> Tensor:
        """Inside the limit of every place, then inside the budget, measured where the image shows it."""
        shift = torch.minimum(torch.maximum(shift, -LIMIT * self._weight), LIMIT * self._weight)
        seen = self._moved(shift) - self._work
        rms = seen.square().mean(dim=(1, 2, 3)).sqrt().clamp_min(NEUTRAL)
        return shift * (self._budget / rms).clamp_max(1.0)[:, None, None, None]

    @torch.no_grad()
    def _entries(self, shift: Tensor, aim: RobustTarget) -> tuple[np.ndarray, list[float | None]]:
        """What the index should hold, (B, D), and the share of edits that it would answer rightly."""
        moved = self._moved(shift)
        clean = self._context.descriptor(self._network_input(moved))
        edited = self._describe_edits(moved, self._entry_views)
        entries = self._inside(self._mean(clean, edited), aim)
        return entries.cpu().numpy(), self._kept(edited, self._code(entries), aim)

    def _kept(self, edited: Tensor, codes: Tensor, aim: RobustTarget) -> list[float | None]:
        if not edited.shape[1]:
            return [None] * len(edited)
        own = (edited - codes[:, None]).square().sum(dim=2)
        # The faster way through products gives no number for neighbours at infinity.
        others = torch.cdist(edited, aim.neighbours, compute_mode="donot_use_mm_for_euclid_dist")
        others = others.square().amin(dim=2)
        right = own < others
        if self._cells is not None and aim.cell is not None:
            right &= self._cells.nearest(edited.flatten(0, 1)).reshape(right.shape) == aim.cell[:, None]
        return right.float().mean(dim=1).tolist()

    def _inside(self, entries: Tensor, aim: RobustTarget) -> Tensor:
        """Entries drawn towards the code that was aimed at until they lie in its cell."""
        drawn = entries
        for part in (0.25, 0.5, 0.75, 1.0):
            if self._cells is None or aim.cell is None:
                break
            outside = (self._cells.nearest(drawn) != aim.cell)[:, None]
            drawn = torch.where(outside, torch.lerp(entries, aim.code, part), drawn)
        return drawn

    def _mean(self, unedited: Tensor, edited: Tensor) -> Tensor:
        """Mean descriptor, (B, D); a unit vector for inner products.

        For L2 it keeps its length: a short vector is nearer to scattered copies than a unit one.
        """
        mean = (UNEDITED * unedited + edited.sum(dim=1)) / (UNEDITED + edited.shape[1])
        return F.normalize(mean, dim=1) if self._context.index.metric == "IP" else mean

    def _code(self, entries: Tensor) -> Tensor:
        """What the index remembers of entries; the entries themselves when it can't say."""
        try:
            code = self._context.index.reconstruct(entries.cpu().numpy())
        except ValueError:
            return entries
        return _bounded(torch.from_numpy(code).to(entries.device))

    @torch.no_grad()
    def _describe_edits(self, pictures: Tensor, count: int) -> Tensor:
        """(B, count, D)."""
        if not count:
            return self._original[:, None][:, :0]
        views = transformed(pictures, self._draw(count), self._input)
        return self._passes(views).reshape(len(pictures), count, -1)

    def _draw(self, count: int) -> Transformations:
        drawn = [
            random_transformations(count, job.srgb.shape[0] / job.srgb.shape[1], generator)
            for job, generator in zip(self._tasks, self._generators, strict=True)
        ]
        return joined(drawn).to(self._work.device)

    def _network_input(self, pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, self._input, mode="bilinear", antialias=True, align_corners=False)

    def _log(self, step: int, cosine: Tensor, loss: Tensor, shift: Tensor, length: Tensor) -> None:
        for place, job in enumerate(self._tasks):
            on_step = step_logger(self._context, job)
            if on_step is None:
                return
            seen = enlarged(shift[place : place + 1].detach(), self._shape)
            error, largest = float(seen.square().mean()), 255 * float(seen.abs().max())
            psnr = -10 * float(np.log10(error)) if error else float("inf")
            losses = float(loss[place]), float(cosine[place])
            on_step(Step(step, *losses, error, psnr, largest, float(length[place])))


def _notes(room: float, kept: float | None) -> tuple[str, ...]:
    """What the manifest tells about an image that is hard to protect."""
    notes = []
    if room < 1:
        notes.append(f"hard to protect: nearly flat, so it is changed {-20 * math.log10(room):.1f} dB less")
    return (*notes, *kept_note(kept))


def kept_note(kept: float | None) -> tuple[str, ...]:
    """What the manifest tells when few edits of an image are found."""
    if kept is None or kept >= HARD:
        return ()
    return (f"hard to protect: of its random edits, {kept:.0%} stay nearest to its entry",)


def _bounded(codes: Tensor) -> Tensor:
    """Codes no longer than unit vectors: those of LSH are signs, whose length means nothing."""
    length = codes.norm(dim=-1, keepdim=True).clamp_min(1.0)
    return torch.where(length.isfinite(), codes / length, codes)  # neighbours at infinity stay there


METHOD = Method(robust, steps=STEPS, settings=frozenset({"views", "entry_views"}), depends_on_references=True)
