"""Trainings that are ready to use, and which views each makes."""

from __future__ import annotations

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

# SSCD trains 100 epochs of 1 M images at a batch of 4096: 244 steps an epoch, 5 of them warm-up.
_SSCD_SCHEDULE = Schedule(steps=24_400, warmup_steps=1_220)


def _sscd(edits: str, *, mixing: MixingConfig | None = None) -> TrainingConfig:
    return TrainingConfig(
        backbone="resnet50",
        dim=512,
        edits=edits,  # type: ignore[arg-type]
        edited_views=1,
        sizes=(SizeStage(0, 224),),
        test_size=288,
        mean=0.449,
        std=0.226,
        optimizer="lars",
        learning_rate=0.3 * 4096 / 256,
        weight_decay=1e-6,
        clip_norm=0.0,
        schedule=_SSCD_SCHEDULE,
        loss=LossConfig(temperature=0.05, entropy_weight=30.0),
        mixing=mixing,
        sync_bn=True,
    )


RECIPES: dict[str, TrainingConfig] = {
    # The default descriptor: 2 processes, 62 of tiny_imagenet and 2 photos each, see docs/model_card.md.
    "default": TrainingConfig(
        sizes=(SizeStage(0, 64), SizeStage(1500, 80), SizeStage(2300, 96)),
        test_size=112,
        schedule=Schedule(steps=2500, warmup_steps=300, decay_start=1900, shape="linear"),
        loss=LossConfig(entropy_weight=3.0, entropy_ramp_steps=2000, asymmetric=True),
    ),
    "sscd_simclr": _sscd("simclr"),
    "sscd_blur": _sscd("strong_blur"),
    "sscd_advanced": _sscd("advanced"),
    "sscd_mixup": _sscd("advanced", mixing=MixingConfig()),
}


def recipe(name: str) -> TrainingConfig:
    """Settings by name.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown --recipe {name!r}; choose from {', '.join(RECIPES)}.")
    return RECIPES[name]
