"""Trainings without a teacher: SSCD's, and the first edition of the default descriptor."""

from __future__ import annotations

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.sscd import SSCDConfig
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
        objective=SSCDConfig(loss=LossConfig(temperature=0.05, entropy_weight=30.0), mixing=mixing),
        sync_bn=True,
    )


# The first edition of the default descriptor: 2 processes, 62 of tiny_imagenet and 2 photos each.
FIRST_DEFAULT = TrainingConfig(
    sizes=(SizeStage(0, 64), SizeStage(1500, 80), SizeStage(2300, 96)),
    test_size=112,
    schedule=Schedule(steps=2500, warmup_steps=300, decay_start=1900, shape="linear"),
    objective=SSCDConfig(loss=LossConfig(entropy_weight=3.0, entropy_ramp_steps=2000, asymmetric=True)),
)
SSCD_SIMCLR = _sscd("simclr")
SSCD_BLUR = _sscd("strong_blur")
SSCD_ADVANCED = _sscd("advanced")
SSCD_MIXUP = _sscd("advanced", mixing=MixingConfig())
