"""How images are moved: budget, strength, and the settings of the methods."""

from __future__ import annotations

from dataclasses import dataclass

from active_indexing.checks import between, one_of, setting

LOSSES = ("cossim", "l2")

LOSS_BATCH = 16
"""Divisor of the published method's loss: the published program averages over its batch, of 16 by default."""

STRENGTHS = {"gentle": 90.0, "standard": 80.0, "strong": 70.0}
"""Least SSIMULACRA2 of a released file: 90 is visually lossless, 70 high quality, by the measure's author."""


MOST_VIEWS = 4096
"""Random edits of one image at a time; each is a copy of it in memory."""

MOST_WEIGHT = 1e38
"""Of a loss or of the bound: what float32 can hold."""


@dataclass(frozen=True, kw_only=True)
class ActivationConfig:
    """How images are moved.

    ``optimizer`` to ``loss_batch`` belong to the published method, with the published program's defaults;
    ``views`` and ``entry_views`` to the other two.

    Every field is a flag of the same name; its ``help`` says what it means.
    """

    method: str = setting(
        "perceptual", "activation method: perceptual, robust, published, a plug-in's, or module:name"
    )
    psnr: float | None = setting(
        None, "decibels that a released file keeps of its input, 20 to 60, in place of --strength"
    )
    strength: str | None = setting(
        None,
        "how visible: gentle, standard or strong, an SSIMULACRA2 of at least 90, 80 or 70 "
        "(default: standard; robust: 42 dB; published: by --scaling)",
        choices=tuple(STRENGTHS),
    )
    iterations: int | None = setting(None, "optimisation steps (default: 6; robust: 12; published: 10)")
    views: int | None = setting(
        None, "random edits that each step looks at, besides the image (default: 2; robust: 4)"
    )
    entry_views: int | None = setting(
        None,
        "random edits whose descriptors make the aim, and again what the index remembers "
        "(default: 8; robust: 16)",
    )
    optimizer: str = setting("Adam,lr=1e-0", "Name,key=value,... of torch or timm (published)")
    scheduler: str = setting(
        "none", "learning-rate schedule, Name,key=value,... of torch or timm, or none (published)"
    )
    target: str = setting(
        "pq_recons", "where images should land: pq_recons, ori_ft, ivf_cluster, ivf_cluster_half (published)"
    )
    loss_f: str = setting(
        "cossim",
        "loss between descriptor and target: minus cosine, or squared distance (published)",
        choices=LOSSES,
    )
    lambda_f: float = setting(1.0, "weight of the descriptor loss (published)")
    lambda_i: float = setting(
        1e-2, "weight of the image loss, the mean squared perturbation in normalised units (published)"
    )
    use_attenuation: bool = setting(
        True, "follow the just-noticeable-difference mask; False: one bound for all pixels (published)"
    )
    scaling: float = setting(3.0, "multiplies the bound of the perturbation (published)")
    scale_channels: bool = setting(True, "smaller bounds for the channels the eye sees best (published)")
    use_tanh: bool = setting(True, "bound the perturbation with tanh (published)")
    loss_batch: int = setting(
        LOSS_BATCH,
        "images that the loss is averaged over: the --batch_size of the published program whose result is "
        "wanted (published)",
    )

    def __post_init__(self) -> None:
        if self.iterations is not None:
            between("iterations", self.iterations, 1, 100_000)
        between("loss_batch", self.loss_batch, 1, 1_000_000)
        for name in ("views", "entry_views"):
            if getattr(self, name) is not None:
                between(name, getattr(self, name), 0, MOST_VIEWS)
        if self.strength is not None:
            one_of("strength", self.strength, tuple(STRENGTHS))
        if self.psnr is not None and not 20 <= self.psnr <= 60:
            raise ValueError(f"--psnr must be from 20 to 60 dB, got {self.psnr}.")
        if self.psnr is not None and self.strength is not None:
            raise ValueError("--psnr and --strength say the same thing; give one of them.")
        one_of("loss_f", self.loss_f, LOSSES)
        for name in ("lambda_f", "lambda_i", "scaling"):
            if not abs(getattr(self, name)) <= MOST_WEIGHT:  # nor NaN
                raise ValueError(
                    f"--{name} must be a finite number, got {getattr(self, name)} (at most {MOST_WEIGHT:g})."
                )
        if not self.scaling > 0:
            raise ValueError(f"--scaling must be positive, got {self.scaling}.")

    @property
    def quality(self) -> float | None:
        """Least SSIMULACRA2 to keep; ``None`` where ``psnr`` or the method decides."""
        return None if self.strength is None else STRENGTHS[self.strength]
