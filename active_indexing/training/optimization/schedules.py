"""Learning rate and view size as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Shape = Literal["cosine", "linear"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up, a plateau, and a decay to zero.

    Attributes:
        steps: length of the training.
        warmup_steps: the rate grows linearly to its base over so many steps.
        decay_start: the rate stays at its base until this step; the end of the warm-up gives plain cosine,
            the schedule of [SSCD]. A plateau lets a training be prolonged without a new schedule.
        shape: of the decay.
        warmup_floor: share of the base from which the warm-up grows.
        epoch_steps: the rate stays the same over so many steps; 1 changes it at every step.
    """

    steps: int
    warmup_steps: int = 0
    decay_start: int = 0
    shape: Shape = "cosine"
    warmup_floor: float = 0.0
    epoch_steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a training needs at least 1 step, got {self.steps}.")
        if not 0 <= self.warmup_steps <= self.steps or not 0 <= self.decay_start <= self.steps:
            raise ValueError(
                f"warm-up ({self.warmup_steps}) and decay start ({self.decay_start}) must lie in the "
                f"{self.steps} steps of the training."
            )
        if not 0 <= self.warmup_floor <= 1 or self.epoch_steps < 1:
            raise ValueError(
                f"the floor of the warm-up is a share and an epoch has steps, got {self.warmup_floor} and "
                f"{self.epoch_steps}."
            )
        if self.shape not in get_args(Shape):
            raise ValueError(
                f"unknown decay shape {self.shape!r}; expected one of {', '.join(get_args(Shape))}."
            )

    def factor(self, step: int) -> float:
        """Share of the base learning rate at ``step``, counted from 0."""
        step -= step % self.epoch_steps
        if step < self.warmup_steps and self.warmup_floor:
            return self.warmup_floor + (1 - self.warmup_floor) * step / self.warmup_steps
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        start = max(self.decay_start, self.warmup_steps)
        if step <= start:
            return 1.0
        progress = min(1.0, (step - start) / (self.steps - start))
        return 1 - progress if self.shape == "linear" else 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class SizeStage:
    """From step ``start`` on, views are ``size`` pixels wide and high."""

    start: int
    size: int


def size_at(stages: tuple[SizeStage, ...], step: int) -> int:
    """View size at a step: that of the last stage which has begun.

    Small views first and large ones late cost a fraction of large ones throughout (progressive resizing;
    Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019, tune at a larger size last).
    """
    return [stage.size for stage in stages if stage.start <= step][-1]
