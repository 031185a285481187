"""Settings of a run: one frozen dataclass per stage, checked once, defaults of the command line.

Field names are the published flag names; a default differs from the published one only where the
field's comment says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from active_indexing.checks import at_least, one_of
from active_indexing.descriptors.config import DescriptorConfig

EXISTING_MODES = ("resume", "overwrite")
METRICS = ("L2", "IP")
LOSSES = ("cossim", "l2")

STEPS = {"robust": 12, "published": 10}
"""Optimisation steps: more gain nothing on photos 200-263; published active_indexing default."""

STRENGTHS = {"gentle": 46.0, "standard": 42.0, "strong": 38.0}
"""PSNR in decibels of each strength: the published method is at 38 with its defaults, 42.6 in its paper."""

MOST_ENTRIES = 16
"""Entries per image for which edits were chosen, see ``entries.ENTRY_EDITS``."""

SAVE_FORMATS = ("png", "jpeg", "webp", "same")


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Which index, trained from what and filled with what.

    Attributes:
        fts_training_path: descriptors (N, D) to train the index from, .pth, .pt or .npy; ``None``
            uses the embedded index.
        fts_reference_path: descriptors (N, D) added to the index before the protected images.
        idx_dir: folder of trained indexes.
        idx_factory: FAISS factory string. The default is the embedded index's factory
            (the published program's was IVF4096,PQ8x8).
        quant: ``L2`` or ``IP`` (inner product).
        nprobe: IVF cells visited per query.
        entries: codes per protected image, all under its id: what the method wants remembered, and
            descriptors of the first ``entries - 1`` of ``entries.ENTRY_EDITS``.
    """

    fts_training_path: Path | None = None
    fts_reference_path: Path | None = None
    idx_dir: Path = Path("indexes")
    idx_factory: str = "IVF1024,PQ8x8"
    quant: str = "L2"
    nprobe: int = 1
    entries: int = 1

    def __post_init__(self) -> None:
        one_of("quant", self.quant, METRICS)
        at_least("nprobe", self.nprobe, 1)
        if not 1 <= self.entries <= MOST_ENTRIES:
            raise ValueError(f"--entries must be from 1 to {MOST_ENTRIES}, got {self.entries}.")


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


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How released images are attacked and searched.

    Attributes:
        eval_retrieval: attack released images, search, write ``retr_df.csv``.
        eval_icd: copy detection with random chains and non-matching queries, write ``icd_df.csv``.
        query_nonmatch_dir: folder of images that are in no index; ``None`` leaves them out.
        use_attacks_2: the grid of 104 attacks instead of the 15.
        screenshot_template: ``web``, ``mobile`` or an image file.
        kneighbors: results per query.
        batch_size_eval: images per block of rows in the CSVs.
    """

    eval_retrieval: bool = True
    eval_icd: bool = True
    query_nonmatch_dir: Path | None = None
    use_attacks_2: bool = False
    screenshot_template: str = "web"
    kneighbors: int = 100
    batch_size_eval: int = 128

    def __post_init__(self) -> None:
        at_least("kneighbors", self.kneighbors, 1)
        at_least("batch_size_eval", self.batch_size_eval, 1)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One arm of a run: what goes in, where it comes out, and every stage's settings.

    Attributes:
        data_dir: folder of images to protect (searched recursively), or one image.
        output_dir: where everything is written.
        active: move the images (active arm) or release them as they are (passive arm).
        seed: seeds everything random.
        batch_size: images that are moved together on an accelerator, fewer when its memory is too small; on a
            CPU only ``debug`` counts them.
        save_imgs: keep the released images; otherwise they are removed after evaluation.
        save_format: format of the released images: ``png``, ``jpeg``, ``webp``, or ``same``, the one that
            the input's name stands for (PNG when it stands for none of these).
        save_quality: 1 to 100, of JPEG and lossy WebP; ``None`` keeps the tables of JPEG sources in JPEG
            releases, and is 90 for the others.
        workers: images in work at the same time; ``None`` is one per core, 0 does without worker processes.
        device: torch device; ``None`` is a GPU when there is one.
        existing: ``resume`` an earlier run of the same settings in ``output_dir``, or ``overwrite``.
        verbose: 0 is silent but for errors, 1 shows progress and the summary.
        log_freq: write the losses of every n-th step to ``activation_log.jsonl``; 0 is never.
        debug: stop after the first six batches.
    """

    data_dir: Path
    output_dir: Path
    active: bool = True
    seed: int = 0
    batch_size: int = 16
    save_imgs: bool = True
    save_format: str = "png"
    save_quality: int | None = None
    workers: int | None = None
    device: str | None = None
    existing: Literal["resume", "overwrite"] = "resume"
    verbose: int = 1
    log_freq: int = 0
    debug: bool = False
    descriptor: DescriptorConfig = field(default_factory=DescriptorConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    activation: ActivationConfig = field(default_factory=ActivationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("seed", self.seed, 0)
        at_least("log_freq", self.log_freq, 0)
        one_of("existing", self.existing, EXISTING_MODES)
        one_of("save_format", self.save_format, SAVE_FORMATS)
        if self.save_quality is not None:
            _check_quality(self.save_quality, self.save_format)
        if self.workers is not None:
            at_least("workers", self.workers, 0)

    def settings(self) -> dict[str, Any]:
        """All settings in one flat dict of JSON values; ``configure(**settings)`` gives them back."""
        flat = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in STAGES}
        for stage in STAGES:
            part = getattr(self, stage)
            flat |= {field.name: getattr(part, field.name) for field in fields(part)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in flat.items()}


STAGES: dict[str, type] = {
    "descriptor": DescriptorConfig,
    "index": IndexConfig,
    "activation": ActivationConfig,
    "evaluation": EvaluationConfig,
}
"""Fields of ``RunConfig`` that hold the settings of one stage."""


def configure(**settings: Any) -> RunConfig:
    """The configuration of a run from flat settings, named like the flags of the command line.

    Args:
        **settings: ``data_dir``, ``output_dir`` and whatever differs from the defaults; paths may be text.

    Raises:
        TypeError: a name that is no setting, or a missing folder.
        ValueError: a value out of its range.
    """
    given = dict(settings)
    parts = {name: kind(**_taken(kind, given)) for name, kind in STAGES.items()}
    run = _taken(RunConfig, given)
    if given:
        raise TypeError(f"unknown settings: {', '.join(sorted(given))}; they are named like the flags.")
    return RunConfig(**run, **parts)


def _taken(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of one dataclass, removed from ``given``."""
    found = {}
    for each in fields(kind):
        if each.name in given and each.name not in STAGES:
            value = given.pop(each.name)
            found[each.name] = Path(value) if isinstance(value, str) and "Path" in str(each.type) else value
    return found


def _check_quality(quality: int, save_format: str) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"--save_quality must be from 1 to 100, got {quality}.")
    if save_format == "png":
        raise ValueError(
            "--save_quality is for JPEG and WebP, and --save_format png is lossless: leave it out, or choose "
            "--save_format jpeg, webp or same."
        )
