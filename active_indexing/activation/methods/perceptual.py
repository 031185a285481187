"""The perceptual method: what the robust method does, inside a budget that the eye agrees with.

Aim, losses and entry are the robust method's. The perturbation differs:

1. It is made at more than twice the descriptor's input size, fine enough to follow texture.
2. It is a mask times a position. The mask is the just-noticeable difference, and 0 where neighbouring pixels
   are equal; grey images stay grey.
3. The position has a bounded 6-norm, not a bounded 2-norm: visibility pools over an image with a high power,
   so a change that is everywhere just below the threshold costs less than a few blotches. Steps are steepest
   in that norm.
4. After each step it is toned down where it would be seen as a spot.
5. The strength is what the released file's SSIMULACRA2 allows (``release.image``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from active_indexing.activation.batches import in_groups
from active_indexing.activation.config import STRENGTHS
from active_indexing.activation.interface import ActivationContext, ActivationJob, ActivationResult, Method
from active_indexing.activation.methods.robust import (
    FIRST_STEP,
    MOMENTUM,
    RobustBatch,
    kept_note,
)
from active_indexing.activation.objectives.cells import RobustTarget
from active_indexing.activation.perturbation import masking
from active_indexing.activation.perturbation.blotches import Blotches
from active_indexing.activation.perturbation.scaling import FullPerturbation, UpsampledPerturbation
from active_indexing.activation.perturbation.steps import steepest, unit_norm, unit_rms
from active_indexing.activation.perturbation.visible_strength import strength_for_quality

# Chosen on 24 of the photos 000-299 with the default descriptor, at an SSIMULACRA2 of 83 in each.
STEPS, VIEWS, ENTRY_VIEWS = 6, 2, 8
"""Twice the steps with twice the edits and entry edits found no more on 24 photos of 000-299 (R@1 0.586 both,
nprobe 8 0.753 and 0.761) and took 2.3 times as long."""

WORKING_SCALE = 2.25  # edge of the working image / edge of the descriptor's input
POOLING = 6.0  # power of the norm; R@1 and Butteraugli are best at 4 to 6, worst at 2
FIRST_GUESS = 1.0  # length in just-noticeable differences at which the search for a budget starts
LONGEST = 0.8  # a budget; no photo's is longer, only those of images with few places to change
LIMITS = {90.0: 0.65, 80.0: 0.8, 70.0: 1.2}
"""Of ``Blotches`` at each SSIMULACRA2. At 0.8 Butteraugli stayed at or below 1.5 on 24 of 24 photos of
000-299, at 1.0 on 23 of them, with R@1 0.628 and 0.633."""

TONED_EVERY = 3  # steps; the last one always is
GREY_LIMIT = 0.6  # times those limits, of grey images: ``Blotches`` sees too little there

MOST = 1.5  # times the change as it was made; more is wanted only where most of an image is flat
FLAT_NOTE = 0.5  # share of an image that stays as it is, from which on the manifest tells


def perceptual(jobs: Sequence[ActivationJob], context: ActivationContext) -> list[ActivationResult]:
    """Move images together; each gets what it would get alone.

    Args:
        jobs: images of any sizes.
        context: descriptor, index and settings.

    Returns:
        One result per image.
    """
    return in_groups(jobs, context, lambda *each: PerceptualBatch(*each).moved(), WORKING_SCALE)


class PerceptualBatch(RobustBatch):
    """Images whose working images have one shape."""

    working_scale = WORKING_SCALE
    views, entry_views = VIEWS, ENTRY_VIEWS

    def __init__(self, jobs: Sequence[ActivationJob], context: ActivationContext) -> None:
        super().__init__(jobs, context)
        opened = torch.stack([masking.openness(job.srgb, self._shape) for job in jobs]).to(self._work.device)
        self._open = opened.mean(dim=(1, 2, 3))
        self._bounds = masking.bounds(self._work, opened)
        grey = torch.tensor([masking.is_grey(job.srgb) for job in jobs], device=self._work.device)
        self._grey = grey[:, None, None, None]
        # All have nearly one scale: their working images have one shape, their own shapes the same aspect.
        scales = [self._shape[0] / job.srgb.shape[0] for job in jobs]
        self._blotches = [Blotches(work[None], scale) for work, scale in zip(self._work, scales, strict=True)]

    def moved(self) -> list[ActivationResult]:
        """Find the aim, optimise, and describe what came out."""
        aim = self._aim()
        shift = self._optimised(aim)
        entries, kept = self._entries(shift, aim)
        fields = (255 * shift).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        strongest = self._strongest(self._moved(shift))
        return [
            ActivationResult(
                UpsampledPerturbation(field, job.srgb.shape[:2]),
                entry,
                self._config.psnr,
                _notes(opened, share),
                quality=self._quality,
                strongest=most,
            )
            for job, field, entry, opened, share, most in zip(
                self._tasks, fields, entries, self._open.tolist(), kept, strongest, strict=True
            )
        ]

    @property
    def _passes(self) -> Callable[[Tensor], Tensor]:
        return self._context.quick

    @property
    def _quality(self) -> float | None:
        """SSIMULACRA2 to keep; ``None`` when decibels are asked for."""
        return STRENGTHS[self._config.strength or "standard"] if self._config.psnr is None else None

    def _optimised(self, aim: RobustTarget) -> Tensor:
        """(B, 3, h, w) perturbation of the working images, in units of the pixels."""
        steps = self._config.iterations or STEPS
        draws = [self._draw(self._views) for _ in range(steps)]  # before the loop, which never waits
        velocity, position = torch.zeros_like(self._bounds), torch.zeros_like(self._bounds)
        budget = self._bounds.new_zeros(len(self._bounds), 1, 1, 1)
        for step, edits in enumerate(draws):
            position = position.detach().requires_grad_(True)
            shift = self._shift(position)
            cosine, loss = self._losses(shift, edits, aim)
            (gradient,) = torch.autograd.grad(loss.sum(), position)
            velocity = MOMENTUM * velocity + unit_rms(gradient)
            direction = steepest(velocity, POOLING)
            if step == 0:
                budget = self._budget_of(direction)
            length = FIRST_STEP * (1 - step / steps) * budget
            self._log(step, cosine.detach(), loss.detach(), shift, length.flatten())
            position = unit_norm(position.detach() - length * direction, POOLING, at_most=budget)
            if step % TONED_EVERY == TONED_EVERY - 1 or step == steps - 1:
                position = self._toned_down(position)
        return self._shift(position.detach())

    def _shift(self, position: Tensor) -> Tensor:
        shift = self._bounds * position
        return torch.where(self._grey, shift.mean(dim=1, keepdim=True), shift)

    @torch.no_grad()
    def _toned_down(self, position: Tensor) -> Tensor:
        if self._quality is None:
            return position
        moved = self._moved(self._shift(position))
        each = zip(self._blotches, moved, self._limits(self._quality), strict=True)
        return position * torch.cat([judge.toned_down(one[None], limit) for judge, one, limit in each])

    def _limits(self, quality: float) -> list[float]:
        return [LIMITS[quality] * (GREY_LIMIT if grey else 1.0) for grey in self._grey.flatten().tolist()]

    def _strongest(self, moved: Tensor) -> list[float | None]:
        """Times the change, how strong each image's may get before a place of it is over the limit."""
        if self._quality is None:
            return [None] * len(moved)
        each = zip(self._blotches, moved, self._limits(self._quality), strict=True)
        largest = torch.stack([judge.distances(one[None]).amax() / limit for judge, one, limit in each])
        return [1 / max(ratio, 1 / MOST) for ratio in largest.tolist()]

    def _budget_of(self, direction: Tensor) -> Tensor:
        """(B, 1, 1, 1) length of the first direction that the strength asked for allows."""
        shift = self._shift(direction)
        if self._quality is None:
            rms = shift.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            return 10 ** (-(self._config.psnr or 0.0) / 20) / rms.clamp_min(1e-6)
        fields = (255 * shift).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        pictures = (255 * self._work).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        found = [
            strength_for_quality(picture, FullPerturbation(FIRST_GUESS * field), self._quality, most=LONGEST)
            for picture, field in zip(pictures, fields, strict=True)
        ]
        return FIRST_GUESS * direction.new_tensor([strength for strength, _ in found])[:, None, None, None]


def _notes(opened: float, kept: float | None) -> tuple[str, ...]:
    """What the manifest tells about an image that is hard to protect."""
    notes = []
    if 1 - opened > FLAT_NOTE:
        notes.append(
            f"hard to protect: {1 - opened:.0%} of it is flat, hides no change, and gets next to none"
        )
    return (*notes, *kept_note(kept))


METHOD = Method(
    perceptual, steps=STEPS, settings=frozenset({"views", "entry_views"}), depends_on_references=True
)
