"""Trainings of light students with a teacher: kd_icd, RDCD, and the default descriptor."""

from __future__ import annotations

from active_indexing.training.config import TrainingConfig
from active_indexing.training.objectives.contrastive import LossConfig
from active_indexing.training.objectives.distillation import SimilarityDistillationConfig
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.relational import RDCDConfig
from active_indexing.training.objectives.teacher_bank import TeacherBankConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage

# Normalisation of SSCD's published students, averaged over the channels.
_MEAN, _STD = 0.449, 0.226

# The published run: 50,000 images at a batch of 256 are 195 steps an epoch; 100 epochs, 1 of warm-up. Every
# image gives two views, both of one kind.
KD_ICD = TrainingConfig(
    backbone="mobilenet_v3_large",
    dim=512,
    edits="advanced",
    edited_views=1,
    sizes=(SizeStage(0, 224),),
    test_size=288,
    mean=_MEAN,
    std=_STD,
    optimizer="lars",
    learning_rate=0.3,
    weight_decay=1e-6,
    clip_norm=0.0,
    schedule=Schedule(steps=19_500, warmup_steps=195),
    objective=SimilarityDistillationConfig(mixing=MixingConfig()),
    sync_bn=True,
)

# 1 M images at a batch of 256 are 3,906 steps an epoch; 100 epochs, 5 of warm-up; rate 1.0 x 256 / 256.
RDCD = TrainingConfig(
    backbone="efficientnet_b0",
    dim=256,
    edits="advanced",
    edited_views=1,
    sizes=(SizeStage(0, 224),),
    test_size=288,
    mean=_MEAN,
    std=_STD,
    optimizer="sgd",
    learning_rate=1.0,
    weight_decay=1e-6,
    clip_norm=0.0,
    schedule=Schedule(steps=390_600, warmup_steps=19_530),
    objective=RDCDConfig(),
)

# The default descriptor, second edition, which goes on from the first (--start) with a teacher's bank. Its
# weights were trained in two stages, 480 and 352 steps, with settings changed by hand; this is the nearest
# recipe, in one stage, and was not run as it stands. docs/model_card.md says what was done.
DEFAULT = TrainingConfig(
    edits="chained",
    sizes=(SizeStage(0, 160),),
    test_size=160,
    learning_rate=5e-4,
    schedule=Schedule(steps=832, warmup_steps=120, decay_start=120, shape="linear"),
    objective=TeacherBankConfig(
        loss=LossConfig(entropy_weight=1.0, asymmetric=True), temperature=0.05, weight=0.25
    ),
    average_decay=0.998,
)
