"""How images are moved: budget, strength, and the settings of the methods."""

from __future__ import annotations

import math
from dataclasses import dataclass

from active_indexing.checks import at_least, one_of

LOSSES = ("cossim", "l2")


STEPS = {"robust": 12, "published": 10}
"""Optimisation steps: more gain nothing on photos 200-263; published active_indexing default."""


STRENGTHS = {"gentle": 46.0, "standard": 42.0, "strong": 38.0}
"""PSNR in decibels of each strength: the published method is at 38 with its defaults, 42.6 in its paper."""


@dataclass(frozen=True, kw_only=True)
class ActivationConfig:
    """How images are moved.

    ``optimizer`` to ``use_tanh`` belong to the published method, with the published program's defaults;
    ``views`` and ``entry_views`` to the robust one.

    Attributes:
        method: name in ``activation.registry.METHODS``.
        psnr: decibels that a released file keeps of its input; ``None`` leaves it to ``strength``.
        strength: ``gentle``, ``standard`` or ``strong``, see ``STRENGTHS``; ``None`` leaves it to the method
            (robust: 42 dB; published: whatever ``scaling`` gives).
        iterations: optimisation steps; ``None`` leaves them to the method, see ``STEPS``.
        views: random edits of the image that each step looks at, besides the image.
        entry_views: random edits whose descriptors make the aim, and again what the index remembers.
        optimizer: ``Name,key=value,...`` of torch or timm.
        scheduler: learning-rate schedule in the same syntax, or ``none``.
        target: name in ``targets.TARGETS``.
        loss_f: ``cossim`` (minus cosine) or ``l2`` (squared distance) between descriptor and target.
        lambda_f: weight of the descriptor loss.
        lambda_i: weight of the image loss (mean squared perturbation in normalised units).
        use_attenuation: follow the just-noticeable-difference mask; off is a uniform bound.
        scaling: multiplies the mask.
        scale_channels: smaller bounds for the channels the eye sees best.
        use_tanh: bound the perturbation with tanh.
    """

    method: str = "robust"
    psnr: float | None = None
    strength: str | None = None
    iterations: int | None = None
    views: int = 4
    entry_views: int = 16
    optimizer: str = "Adam,lr=1e-0"
    scheduler: str = "none"
    target: str = "pq_recons"
    loss_f: str = "cossim"
    lambda_f: float = 1.0
    lambda_i: float = 1e-2
    use_attenuation: bool = True
    scaling: float = 3.0
    scale_channels: bool = True
    use_tanh: bool = True

    def __post_init__(self) -> None:
        at_least("iterations", self.steps, 1)
        at_least("views", self.views, 0)
        at_least("entry_views", self.entry_views, 0)
        if self.strength is not None:
            one_of("strength", self.strength, tuple(STRENGTHS))
        if self.psnr is not None and not 20 <= self.psnr <= 60:
            raise ValueError(f"--psnr must be from 20 to 60 dB, got {self.psnr}.")
        if self.psnr is not None and self.strength is not None:
            raise ValueError("--psnr and --strength say the same thing; give one of them.")
        one_of("loss_f", self.loss_f, LOSSES)
        for name in ("lambda_f", "lambda_i", "scaling"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"--{name} must be a finite number, got {getattr(self, name)}.")
        if not self.scaling > 0:
            raise ValueError(f"--scaling must be positive, got {self.scaling}.")

    @property
    def steps(self) -> int:
        """Optimisation steps."""
        return STEPS.get(self.method, 1) if self.iterations is None else self.iterations

    @property
    def budget(self) -> float | None:
        """Decibels to keep; ``None`` where the method decides."""
        return self.psnr if self.strength is None else STRENGTHS[self.strength]
