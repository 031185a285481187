"""ViT4ICD in its published stages, each of which begins with the weights of the one before (--start).

Images are named ``<identity>_<anything>`` and were edited before the training; a batch of 128 has 4 of each
of 32 identities, which is ``--source IMAGES:EDGE:128`` in one process. Adam without decay, rate 3.5e-4 for
8,000 steps an epoch; the average of all weights (decay 0.9999) is what a stage gives. Grey images keep one
mean and deviation for all channels.
"""

from __future__ import annotations

from dataclasses import replace

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.margin import MarginConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

EPOCH = 8_000  # published ``--iters``

# A ResNet-50 that begins with Barlow Twins' weights (--start). Factor 0.01 + 0.99 e / 5 in epochs 0 to 4, 1
# until epoch 10, then a cosine to 0 at epoch 25.
STAGE1 = TrainingConfig(
    backbone="resnet50_stride1",
    dim=512,
    gem_p=3.0,
    edits="shifted",
    edited_views=0,
    instances=4,
    sizes=(SizeStage(0, 256),),
    test_size=256,
    mean=0.449,
    std=0.226,
    learning_rate=3.5e-4,
    weight_decay=0.0,
    clip_norm=0.0,
    schedule=Schedule(
        steps=25 * EPOCH,
        warmup_steps=5 * EPOCH,
        decay_start=10 * EPOCH,
        warmup_floor=0.01,
        epoch_steps=EPOCH,
    ),
    objective=MarginConfig(),
    average_decay=0.9999,
    grey=True,
)

# A DeiT-base that begins with ImageNet's weights, its descriptors pulled to those of stage 1 (--teacher).
STAGE2A = replace(
    STAGE1,
    backbone="deit_base_patch16_224",
    sizes=(SizeStage(0, 224),),
    test_size=224,
    objective=MarginConfig(cnn=False, drop_path=0.1, compatibility=100.0),
)

# Tuned in evaluation mode for 10 epochs: the same warm-up, then a cosine from epoch 5 to 10.
STAGE2B = replace(
    STAGE2A,
    schedule=Schedule(
        steps=10 * EPOCH,
        warmup_steps=5 * EPOCH,
        decay_start=5 * EPOCH,
        warmup_floor=0.01,
        epoch_steps=EPOCH,
    ),
    eval_mode=True,
)

# With pairs of the ground truth (--pairs): queries and references pulled together, off their nearest others.
STAGE3 = replace(STAGE2B, objective=MarginConfig(cnn=False, drop_path=0.1, compatibility=100.0, pairs=1.0))
