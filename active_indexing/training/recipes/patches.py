"""Trainings with a contrast of patches beside that of whole views."""

from __future__ import annotations

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.patches import PatchContrastConfig
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

# [CopyNCE]'s descriptor: 8 GPUs x 96 images, so 1 M images are 1,302 steps an epoch; 30 epochs, 1 of warm-up;
# rate 6e-4 x sqrt(768 / 1024); the scale of InfoNCE begins at e^3.2 and is learned there, here it stays.
# Its own edits and its search for hard negatives are not made here: SSCD's edits, batched.
COPYNCE = TrainingConfig(
    backbone="vit_small_patch16_224",
    dim=512,
    edits="advanced",
    edited_views=1,
    sizes=(SizeStage(0, 224),),
    test_size=224,
    mean=0.449,
    std=0.226,
    optimizer="adamw",
    learning_rate=6e-4 * 0.75**0.5,
    weight_decay=0.04,
    clip_norm=3.0,
    schedule=Schedule(steps=39_060, warmup_steps=1_302),
    objective=PatchContrastConfig(
        base=SSCDConfig(loss=LossConfig(temperature=0.0408, entropy_weight=5.0)), layer="trunk.blocks.10"
    ),
)
