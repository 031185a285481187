"""The first place of ISC21's descriptor track in its published steps, each begun with the one before.

SGD with momentum 0.9, decay 1e-6 not of biases and batch norms, GeM with p = 1 on the last map of
EfficientNetV2-M, projection without bias and a batch norm to 256 values. An epoch is 1 M images. What is
exported is a moving average; published is the last weights.
"""

from __future__ import annotations

from dataclasses import replace

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.cross_batch import CrossBatchConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

EPOCH = 1_000_000 // 128  # steps at a batch of 128; v98 has 64

V83 = TrainingConfig(
    backbone="tf_efficientnetv2_m.in21k_ft_in1k@maps",
    dim=256,
    gem_p=1.0,
    edits="isc_v83",
    edited_views=1,
    sizes=(SizeStage(0, 256),),
    test_size=256,
    mean=0.5,
    std=0.5,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=1e-6,
    spare_vectors=True,
    clip_norm=0.0,
    schedule=Schedule(steps=10 * EPOCH, decay_start=10 * EPOCH),
    objective=CrossBatchConfig(),
    sync_bn=True,
)
V86 = replace(
    V83,
    edits="isc_v86",
    sizes=(SizeStage(0, 384),),
    test_size=384,
    schedule=Schedule(steps=7 * EPOCH, decay_start=7 * EPOCH),
)
# Two random reference images per image are further negatives (--support); the rate falls with every epoch.
V98 = replace(
    V83,
    edits="isc_v98",
    sizes=(SizeStage(0, 512),),
    test_size=512,
    schedule=Schedule(steps=3 * 2 * EPOCH, shape="linear", epoch_steps=2 * EPOCH),
    objective=CrossBatchConfig(support=True),
)
# One pair of the 4,991 of the public ground truth per process, two images of one name <pair>_<anything>, only
# squeezed. Published is the number of epochs, not that of processes: 8 are assumed.
V107 = replace(
    V98,
    edits="plain",
    edited_views=0,
    instances=2,
    learning_rate=0.5,
    schedule=Schedule(steps=10 * 623, shape="linear", epoch_steps=623),
    objective=CrossBatchConfig(memory_rows=1_000, negative_margin=1.1),
)
